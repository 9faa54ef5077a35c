import { Stack } from "aws-cdk-lib";
import { EventBus, Rule } from "aws-cdk-lib/aws-events";
import { EventBus as EventBusTarget } from "aws-cdk-lib/aws-events-targets";
import type { Construct } from "constructs";
import { regionTrouble } from "./constructs/site-events.ts";
import { siteName } from "./constructs/site-names.ts";
import { type ForwardConfig, forwardName } from "./site-config.ts";

/** Hands a region's alarms and AWS Health to the buses of sites elsewhere, by a role of its own for each; it is no site and keeps nothing. */
export class ForwardStack extends Stack {
  constructor(scope: Construct, { name, account, region, to }: ForwardConfig) {
    const description = `Farshore: forwards alarms and AWS Health of ${region}`;
    super(scope, siteName(forwardName(name)), { description, env: { account, region } });
    new Rule(this, "Trouble", {
      description,
      eventPattern: regionTrouble,
      targets: to.map((arn, index) => new EventBusTarget(EventBus.fromEventBusArn(this, `Bus${index}`, arn))),
    });
  }
}
