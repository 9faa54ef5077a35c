import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decideAccess } from "../../test/kit/iam-policies.ts";
import { SiteTemplate, statementsOf, testAccount, testRegion } from "../../test/kit/site-template.ts";
import { root } from "../folders.ts";

const statements = statementsOf(JSON.parse(readFileSync(join(root, "infra/deployer/execution-policy.json"), "utf8")));
const site = new SiteTemplate({
  ...{ encryption: "kms", gateways: ["222222222222"], event_accounts: ["222222222222"] },
  alarm_emails: ["oncall@example.com"],
});

function allows(action: string, resource: string, context: Readonly<Record<string, string>> = {}): boolean {
  const principal = `arn:aws:iam::${testAccount}:role/cdk-hnb659fds-cfn-exec-role`;
  return decideAccess({ principal, action, resource, context }, { identity: statements, resource: [] }).allowed;
}

const here = `${testRegion}:${testAccount}`;
/** What CloudFormation does to make a resource of each type, and on what: names that it makes up begin with the stack's. */
const creations: Readonly<Record<string, readonly [action: string, resource: string]>> = {
  "AWS::CloudWatch::Alarm": [
    "cloudwatch:PutMetricAlarm",
    `arn:aws:cloudwatch:${here}:alarm:farshore-berlin-dead-letters`,
  ],
  "AWS::CloudWatch::Dashboard": [
    "cloudwatch:PutDashboard",
    `arn:aws:cloudwatch::${testAccount}:dashboard/farshore-berlin-x`,
  ],
  "AWS::DynamoDB::Table": ["dynamodb:CreateTable", `arn:aws:dynamodb:${here}:table/farshore-berlin-IndexTable-X`],
  "AWS::Events::EventBus": ["events:CreateEventBus", `arn:aws:events:${here}:event-bus/farshore-berlin`],
  "AWS::Events::EventBusPolicy": ["events:PutPermission", `arn:aws:events:${here}:event-bus/farshore-berlin`],
  "AWS::Events::Rule": [
    "events:PutRule",
    `arn:aws:events:${here}:rule/farshore-berlin/farshore-berlin-EventsNotices-X`,
  ],
  "AWS::IAM::ManagedPolicy": [
    "iam:CreatePolicy",
    `arn:aws:iam::${testAccount}:policy/farshore-berlin-GatewaysPolicy-X`,
  ],
  "AWS::IAM::Policy": ["iam:PutRolePolicy", `arn:aws:iam::${testAccount}:role/farshore-berlin-FunctionsMintTerm-X`],
  "AWS::IAM::Role": ["iam:CreateRole", `arn:aws:iam::${testAccount}:role/farshore-berlin-FunctionsMintTerm-X`],
  "AWS::KMS::Key": ["kms:CreateKey", "*"],
  "AWS::Lambda::EventInvokeConfig": [
    "lambda:PutFunctionEventInvokeConfig",
    `arn:aws:lambda:${here}:function:farshore-berlin-reconciler`,
  ],
  "AWS::Lambda::Function": ["lambda:CreateFunction", `arn:aws:lambda:${here}:function:farshore-berlin-reconciler`],
  "AWS::Lambda::Permission": ["lambda:AddPermission", `arn:aws:lambda:${here}:function:farshore-berlin-reconciler`],
  "AWS::Lambda::Url": ["lambda:CreateFunctionUrlConfig", `arn:aws:lambda:${here}:function:farshore-berlin-site-api`],
  "AWS::Logs::LogGroup": ["logs:CreateLogGroup", `arn:aws:logs:${here}:log-group:farshore-berlin-FunctionsLog-X`],
  "AWS::S3::Bucket": ["s3:CreateBucket", "arn:aws:s3:::farshore-berlin-journalbucket-x"],
  "AWS::S3::BucketPolicy": ["s3:PutBucketPolicy", "arn:aws:s3:::farshore-berlin-journalbucket-x"],
  "AWS::SNS::Subscription": ["sns:Subscribe", `arn:aws:sns:${here}:farshore-berlin`],
  "AWS::SNS::Topic": ["sns:CreateTopic", `arn:aws:sns:${here}:farshore-berlin`],
  "AWS::SNS::TopicPolicy": ["sns:SetTopicAttributes", `arn:aws:sns:${here}:farshore-berlin`],
  "AWS::SQS::Queue": ["sqs:CreateQueue", `arn:aws:sqs:${here}:farshore-berlin-EventsDeadLetters-X`],
  "AWS::SQS::QueuePolicy": ["sqs:SetQueueAttributes", `arn:aws:sqs:${here}:farshore-berlin-EventsDeadLetters-X`],
  "AWS::StepFunctions::StateMachine": [
    "states:CreateStateMachine",
    `arn:aws:states:${here}:stateMachine:farshore-berlin-failover-live`,
  ],
};

describe("what CloudFormation may do when it deploys a site", () => {
  it("is known of every type of resource that a site has", () => {
    expect(Object.keys(creations).sort()).toEqual([...site.types].sort());
  });

  it.each(Object.entries(creations))("is enough for %s", (_, [action, resource]) => {
    expect(allows(action, resource)).toBe(true);
  });

  it.each([
    ["the bucket of another program", "s3:DeleteBucket", "arn:aws:s3:::other"],
    ["the journal's objects", "s3:GetObject", "arn:aws:s3:::farshore-berlin-journalbucket-x/journal/v/1/1/0"],
    [
      "deleting the journal's objects",
      "s3:DeleteObject",
      "arn:aws:s3:::farshore-berlin-journalbucket-x/journal/v/1/1/0",
    ],
    ["another program's table", "dynamodb:DeleteTable", `arn:aws:dynamodb:${here}:table/other`],
    ["the index's items", "dynamodb:PutItem", `arn:aws:dynamodb:${here}:table/farshore-berlin-IndexTable-X`],
    ["another program's role", "iam:PutRolePolicy", `arn:aws:iam::${testAccount}:role/admin`],
    ["users", "iam:CreateUser", `arn:aws:iam::${testAccount}:user/x`],
    [
      "starting a failover",
      "states:StartExecution",
      `arn:aws:states:${here}:stateMachine:farshore-berlin-failover-live`,
    ],
    ["calling a function", "lambda:InvokeFunction", `arn:aws:lambda:${here}:function:farshore-berlin-site-api`],
  ])("is not %s", (_, action, resource) => {
    expect(allows(action, resource)).toBe(false);
  });

  it("is to give roles to its own services only", () => {
    const role = `arn:aws:iam::${testAccount}:role/farshore-berlin-x`;
    for (const service of ["events", "lambda", "states"])
      expect(allows("iam:PassRole", role, { "iam:PassedToService": `${service}.amazonaws.com` })).toBe(true);
    expect(allows("iam:PassRole", role, { "iam:PassedToService": "ec2.amazonaws.com" })).toBe(false);
  });

  it("fits the managed policy that it is put into: 6,144 characters without white space", () => {
    const text = readFileSync(join(root, "infra/deployer/execution-policy.json"), "utf8");
    expect(text.replaceAll(/\s/g, "").length).toBeLessThanOrEqual(6144);
  });
});
