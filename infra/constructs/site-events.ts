import { Duration, Validations } from "aws-cdk-lib";
import { EventBus, Rule, Schedule } from "aws-cdk-lib/aws-events";
import { LambdaFunction as LambdaTarget } from "aws-cdk-lib/aws-events-targets";
import type { Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import { Queue, QueueEncryption } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { pascalCase } from "../folders.ts";
import { infraLimits } from "../limits.ts";
import { acknowledgePlainHttp } from "./acknowledge.ts";
import { schedules } from "./function-settings.ts";
import { siteName } from "./site-names.ts";

export interface SiteEventsProps {
  readonly site: string;
  readonly functionOf: (folder: string) => LambdaFunction;
  /** Takes requests without TLS too. */
  readonly plainHttp: boolean;
}

/** What happens by itself: the schedules, and the bus on which others tell this site of trouble. */
export class SiteEvents extends Construct {
  readonly bus: EventBus;
  /** Calls that no try could deliver. */
  readonly deadLetters: Queue;

  constructor(scope: Construct, id: string, { site, functionOf, plainHttp }: SiteEventsProps) {
    super(scope, id);
    this.bus = new EventBus(this, "Bus", { eventBusName: siteName(site) });
    this.deadLetters = new Queue(this, "DeadLetters", {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: !plainHttp,
      retentionPeriod: Duration.days(infraLimits.deadLetterDays),
    });
    Validations.of(this.deadLetters).acknowledge({
      id: "AwsSolutions-SQS3",
      reason: "it is the dead-letter queue itself, of EventBridge's targets",
    });
    if (plainHttp) acknowledgePlainHttp(this.deadLetters);
    for (const [folder, { everyMinutes }] of Object.entries(schedules)) {
      const target = functionOf(folder);
      // A run that fails is the next one's to make good: it looks at everything anew.
      target.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(infraLimits.scheduleAgeMinutes) });
      new Rule(this, `${pascalCase(folder)}Schedule`, {
        description: `Farshore, site ${site}: runs functions/${folder}`,
        schedule: Schedule.rate(Duration.minutes(everyMinutes)),
        targets: [
          new LambdaTarget(target, {
            deadLetterQueue: this.deadLetters,
            retryAttempts: 2,
            maxEventAge: Duration.minutes(infraLimits.scheduleAgeMinutes),
          }),
        ],
      });
    }
  }
}
