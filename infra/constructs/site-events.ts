import { Aws, Duration, Validations } from "aws-cdk-lib";
import {
  CfnEventBusPolicy,
  EventBus,
  type EventPattern,
  Match,
  Rule,
  RuleTargetInput,
  Schedule,
} from "aws-cdk-lib/aws-events";
import { LambdaFunction as LambdaTarget, SnsTopic } from "aws-cdk-lib/aws-events-targets";
import type { Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import { SqsDestination } from "aws-cdk-lib/aws-lambda-destinations";
import type { Topic } from "aws-cdk-lib/aws-sns";
import { Queue, QueueEncryption } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { noticeDetailType, noticeSource } from "#adapters/aws/notify.ts";
import { pascalCase } from "../folders.ts";
import { infraLimits as limits } from "../limits.ts";
import { schedules } from "./function-settings.ts";
import { siteName } from "./site-names.ts";

export interface SiteEventsProps {
  readonly site: string;
  readonly functionOf: (folder: string) => LambdaFunction;
  /** Where notices for people go. */
  readonly topic: Topic;
  /** Accounts that may put events onto the bus. */
  readonly accounts: readonly string[];
}

/** What AWS says of trouble in a region, on that region's default bus. */
export const regionTrouble = {
  source: ["aws.cloudwatch", "aws.health"],
  detailType: ["CloudWatch Alarm State Change", "AWS Health Event"],
} satisfies EventPattern;

/** What happens by itself: the schedules, the events that raise suspicion, and the notices that go out to people. */
export class SiteEvents extends Construct {
  readonly bus: EventBus;
  /** Calls that no try could deliver, and events that no try could take in. */
  readonly deadLetters: Queue;
  readonly #props: SiteEventsProps;

  constructor(scope: Construct, id: string, props: SiteEventsProps) {
    super(scope, id);
    this.#props = props;
    this.bus = new EventBus(this, "Bus", { eventBusName: siteName(props.site) });
    this.deadLetters = new Queue(this, "DeadLetters", {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(limits.deadLetterDays),
    });
    Validations.of(this.deadLetters).acknowledge({
      id: "AwsSolutions-SQS3",
      reason: "it is the dead-letter queue itself, of EventBridge's targets and of a function",
    });
    for (const [folder, { everyMinutes }] of Object.entries(schedules)) this.#schedule(folder, everyMinutes);
    this.#receive();
    this.#notify();
    for (const account of props.accounts) this.#admit(account);
  }

  #schedule(folder: string, everyMinutes: number): void {
    const target = this.#props.functionOf(folder);
    const maxEventAge = Duration.minutes(limits.scheduleAgeMinutes);
    // A run that fails is the next one's to make good: it looks at everything anew.
    target.configureAsyncInvoke({ retryAttempts: 0, maxEventAge });
    const event = RuleTargetInput.fromObject({ everyMs: everyMinutes * 60_000 });
    new Rule(this, `${pascalCase(folder)}Schedule`, {
      description: `Farshore, site ${this.#props.site}: runs functions/${folder}`,
      schedule: Schedule.rate(Duration.minutes(everyMinutes)),
      targets: [new LambdaTarget(target, { event, deadLetterQueue: this.deadLetters, retryAttempts: 2, maxEventAge })],
    });
  }

  /** Custom events come on the site's bus, and what other regions and accounts forward; this region's own on its default bus. */
  #receive(): void {
    const target = this.#props.functionOf("receive-event");
    const maxEventAge = Duration.minutes(limits.eventAgeMinutes);
    const onFailure = new SqsDestination(this.deadLetters);
    target.configureAsyncInvoke({ retryAttempts: 2, maxEventAge, onFailure });
    const rule = (id: string, bus: EventBus | undefined, eventPattern: EventPattern) =>
      new Rule(this, id, {
        description: `Farshore, site ${this.#props.site}: takes in events`,
        ...(bus === undefined ? {} : { eventBus: bus }),
        eventPattern,
        targets: [new LambdaTarget(target, { deadLetterQueue: this.deadLetters, retryAttempts: 2, maxEventAge })],
      });
    rule("SiteEvents", this.bus, { source: Match.anythingBut(noticeSource) });
    rule("RegionEvents", undefined, regionTrouble);
  }

  /** Only what this account put there: others that may put events may not speak for the site. */
  #notify(): void {
    new Rule(this, "Notices", {
      description: `Farshore, site ${this.#props.site}: tells people`,
      eventBus: this.bus,
      eventPattern: { source: [noticeSource], detailType: [noticeDetailType], account: [Aws.ACCOUNT_ID] },
      targets: [
        new SnsTopic(this.#props.topic, {
          message: RuleTargetInput.fromEventPath("$.detail"),
          // By a role of this rule; otherwise the topic would let in the rules of every account.
          authorizeUsingRole: true,
          deadLetterQueue: this.deadLetters,
          maxEventAge: Duration.minutes(limits.eventAgeMinutes),
        }),
      ],
    });
  }

  #admit(account: string): void {
    new CfnEventBusPolicy(this, `Account${account}`, {
      eventBusName: this.bus.eventBusName,
      statementId: `events-of-${account}`,
      statement: {
        Effect: "Allow",
        Principal: { AWS: `arn:${Aws.PARTITION}:iam::${account}:root` },
        Action: "events:PutEvents",
        Resource: this.bus.eventBusArn,
      },
    });
  }
}
