import { App } from "aws-cdk-lib";
import { Match, Template } from "aws-cdk-lib/assertions";
import { expect, it } from "vitest";
import { ForwardStack } from "./forward-stack.ts";

const bus = "arn:aws:events:eu-central-1:111111111111:event-bus/farshore-berlin";

it("hands a region's alarms and AWS Health to the bus that is configured, by a role that may do nothing else", () => {
  const app = new App({ builtinCloudFormationValidation: false });
  const forward = { name: "us-west-2", account: "222222222222", region: "us-west-2", to: [bus] };
  const stack = new ForwardStack(app, forward);
  expect([stack.stackName, stack.region]).toEqual(["farshore-forward-us-west-2", "us-west-2"]);
  const template = Template.fromStack(stack);
  template.resourceCountIs("AWS::Events::Rule", 1);
  template.hasResourceProperties("AWS::Events::Rule", {
    EventPattern: {
      source: ["aws.cloudwatch", "aws.health"],
      "detail-type": ["CloudWatch Alarm State Change", "AWS Health Event"],
    },
    Targets: [{ Arn: bus, RoleArn: Match.anyValue() }],
  });
  template.resourceCountIs("AWS::IAM::Policy", 1);
  template.hasResourceProperties("AWS::IAM::Policy", {
    PolicyDocument: { Statement: [{ Effect: "Allow", Action: "events:PutEvents", Resource: bus }] },
  });
});
