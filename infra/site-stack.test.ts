import { readFileSync } from "node:fs";
import { join } from "node:path";
import { App, CfnResource, type Stack } from "aws-cdk-lib";
import { Match } from "aws-cdk-lib/assertions";
import { Code } from "aws-cdk-lib/aws-lambda";
import { Bucket } from "aws-cdk-lib/aws-s3";
import { AwsSolutionsChecks } from "cdk-nag";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { environmentNames } from "#adapters/aws/environment.ts";
import { metricNames } from "#adapters/aws/measure.ts";
import { noticeDetailType, noticeSource } from "#adapters/aws/notify.ts";
import { assumed } from "#core/cost/usage.ts";
import { SiteTemplate, statementsOf, testAccount, testRegion } from "../test/kit/site-template.ts";
import { functionSettings, schedules } from "./constructs/function-settings.ts";
import { functionFolders, machineFolders, root } from "./folders.ts";
import { parseSite } from "./site-config.ts";
import { SiteStack } from "./site-stack.ts";

const site = new SiteTemplate();
const { template } = site;
const withKey = new SiteTemplate({ encryption: "kms" });
/** cdk-nag walks whole trees: slow where many tests share a core. */
const slowMs = 120_000;

describe("journal bucket", () => {
  it("is versioned, private, TLS only, encrypted by S3's keys, kept, and forgets abandoned uploads", () => {
    template.hasResource("AWS::S3::Bucket", {
      DeletionPolicy: "Retain",
      UpdateReplacePolicy: "Retain",
      Properties: {
        VersioningConfiguration: { Status: "Enabled" },
        PublicAccessBlockConfiguration: {
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        },
        BucketEncryption: {
          ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" } }],
        },
        LifecycleConfiguration: {
          Rules: [
            Match.objectLike({ Prefix: "layers/", NoncurrentVersionExpiration: { NoncurrentDays: 1 } }),
            Match.objectLike({
              Prefix: "sync/",
              ExpirationInDays: 14,
              NoncurrentVersionExpiration: { NoncurrentDays: 1 },
            }),
            Match.objectLike({ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 }, Status: "Enabled" }),
          ],
        },
      },
    });
  });

  it("with kms is encrypted by one key of the site, by bucket keys; so is the table", () => {
    withKey.template.hasResource("AWS::KMS::Key", {
      DeletionPolicy: "Retain",
      Properties: { EnableKeyRotation: true },
    });
    withKey.template.hasResourceProperties("AWS::S3::Bucket", {
      BucketEncryption: {
        ServerSideEncryptionConfiguration: [
          { BucketKeyEnabled: true, ServerSideEncryptionByDefault: { SSEAlgorithm: "aws:kms" } },
        ],
      },
    });
    withKey.template.hasResourceProperties("AWS::DynamoDB::Table", {
      SSESpecification: { SSEEnabled: true, SSEType: "KMS" },
    });
  });
});

describe("table", () => {
  it("is on demand, recoverable, protected and kept", () => {
    template.hasResource("AWS::DynamoDB::Table", {
      DeletionPolicy: "Retain",
      Properties: {
        BillingMode: "PAY_PER_REQUEST",
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
      },
    });
  });
});

describe("data", () => {
  it("is let go of only when that is asked for", () => {
    const types = ["AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key"];
    const policies = (of: SiteTemplate) =>
      types.flatMap((type) => [...of.all(type).keys()].map((id) => of.deletionPolicy(id)));
    expect(policies(withKey)).toEqual(["Retain", "Retain", "Retain"]);
    const removable = new SiteTemplate({ encryption: "kms", remove_data: true });
    expect(policies(removable)).toEqual(["Delete", "Delete", "Delete"]);
    removable.template.hasResourceProperties("AWS::DynamoDB::Table", { DeletionProtectionEnabled: false });
  });
});

const functionSchema = z.object({
  FunctionName: z.string(),
  Environment: z.object({ Variables: z.record(z.string(), z.string()) }),
});
const functions = [...site.all("AWS::Lambda::Function").values()].map((properties) => functionSchema.parse(properties));

describe("functions", () => {
  it("are the folders of functions/, each with a line of settings, and no line without a folder", () => {
    expect(functions.map(({ FunctionName }) => FunctionName.replace("farshore-berlin-", "")).sort()).toEqual(
      functionFolders,
    );
    expect(Object.keys(functionSettings).sort()).toEqual(functionFolders);
    expect(functionFolders).toContain("ingest-batch");
    expect(Object.keys(schedules).filter((folder) => functionSettings[folder] === undefined)).toEqual([]);
  });

  it("run on Node 24 and arm64, log JSON into groups that forget, and have the environment that they read", () => {
    template.allResourcesProperties("AWS::Lambda::Function", {
      Runtime: "nodejs24.x",
      Architectures: ["arm64"],
      LoggingConfig: Match.objectLike({ LogFormat: "JSON" }),
    });
    template.allResourcesProperties("AWS::Logs::LogGroup", { RetentionInDays: 30 });
    for (const { FunctionName, Environment } of functions) {
      const given = Object.keys(Environment.Variables).filter((name) => name.startsWith("FARSHORE_"));
      expect(
        given.filter((name) => !environmentNames.includes(name)),
        FunctionName,
      ).toEqual([]);
      expect(given, FunctionName).toEqual(
        expect.arrayContaining(["FARSHORE_SITE_NAME", "FARSHORE_BUCKET", "FARSHORE_TABLE"]),
      );
    }
    const prefix = functions[0]?.Environment.Variables["FARSHORE_STATE_MACHINE_PREFIX"];
    expect(machineFolders.map((folder) => `${prefix}${folder}`).sort()).toEqual(
      [...site.all("AWS::StepFunctions::StateMachine").keys()].map((id) => site.resolve({ Ref: id })).sort(),
    );
  });

  it("set concurrency aside unless told otherwise", () => {
    const reserved = (of: SiteTemplate) =>
      [...of.all("AWS::Lambda::Function").values()].flatMap(({ ReservedConcurrentExecutions: count }) =>
        typeof count === "number" ? [count] : [],
      );
    const sum = reserved(site).reduce((total, count) => total + count, 0);
    // Lambda keeps 100 of an account's 1000 unreserved; two sites of one region share the rest.
    expect(2 * sum).toBeLessThanOrEqual(900);
    expect(readFileSync(join(root, "infra/farshore-site.example.toml"), "utf8")).toContain(`Sets aside ${sum} `);
    expect(reserved(new SiteTemplate({ reserve_concurrency: false }))).toEqual([]);
  });

  it("have signed URLs only, and admit the principals of other accounts to theirs", () => {
    template.resourceCountIs("AWS::Lambda::Url", 3);
    template.allResourcesProperties("AWS::Lambda::Url", { AuthType: "AWS_IAM" });
    const gateway = "arn:aws:iam::222222222222:role/paris-gateway";
    const operator = "arn:aws:iam::333333333333:user/ann";
    const open = new SiteTemplate({ gateways: [gateway], operators: [operator], people: ["444444444444"] });
    const admitted = [...open.all("AWS::Lambda::Permission").values()].flatMap((permission) => {
      const { Principal, FunctionName, Action, FunctionUrlAuthType, InvokedViaFunctionUrl } = permission;
      if (Principal === "events.amazonaws.com") return [];
      const how = FunctionUrlAuthType === "AWS_IAM" || InvokedViaFunctionUrl === true ? "by URL" : "in any way";
      return [`${Principal} ${Action} ${String(FunctionName).split("farshore-berlin-")[1]} ${how}`];
    });
    const both = (principal: string, name: string) => [
      `${principal} lambda:InvokeFunctionUrl ${name} by URL`,
      `${principal} lambda:InvokeFunction ${name} by URL`,
    ];
    expect(admitted.sort()).toEqual(
      [
        ...both(gateway, "gateway-api"),
        ...both(gateway, "ingest-batch"),
        ...both(operator, "site-api"),
        ...both("444444444444", "site-api"),
      ].sort(),
    );
  });
});

describe("state machines", () => {
  it("log every event, without execution data, and are traced", () => {
    template.resourceCountIs("AWS::StepFunctions::StateMachine", machineFolders.length);
    template.allResourcesProperties("AWS::StepFunctions::StateMachine", {
      StateMachineType: "STANDARD",
      LoggingConfiguration: Match.objectLike({ Level: "ALL", IncludeExecutionData: false }),
      TracingConfiguration: { Enabled: true },
    });
  });

  it("are the documents of workflows/, every placeholder of theirs filled", () => {
    for (const [, { StateMachineName, DefinitionString, DefinitionSubstitutions }] of site.all(
      "AWS::StepFunctions::StateMachine",
    )) {
      const folder = String(StateMachineName).replace("farshore-berlin-", "");
      const source = readFileSync(join(root, "workflows", folder, `${folder}.asl.json`), "utf8");
      expect(JSON.parse(String(DefinitionString))).toEqual(JSON.parse(source));
      const placeholders = new Set([...source.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name));
      const filled = z.record(z.string(), z.string()).parse(DefinitionSubstitutions);
      expect(Object.keys(filled).sort()).toEqual([...placeholders].sort());
      for (const arn of Object.values(filled)) expect(arn).toMatch(/^arn:aws:lambda:.*:function:farshore-berlin-/);
    }
  });
});

const ruleSchema = z.looseObject({
  ScheduleExpression: z.string().optional(),
  EventBusName: z.string().optional(),
  EventPattern: z.record(z.string(), z.unknown()).optional(),
  Targets: z.array(z.looseObject({ Arn: z.string(), Input: z.string().optional(), DeadLetterConfig: z.object({}) })),
});

describe("schedules and events", () => {
  const rules = [...site.all("AWS::Events::Rule").values()].map((rule) => ruleSchema.parse(rule));
  const targetOf = (rule: z.infer<typeof ruleSchema>) => rule.Targets.map(({ Arn }) => Arn.split(":").at(-1)).join();

  it("run every function of the table each minute, telling it so", () => {
    const scheduled = rules.filter(({ ScheduleExpression }) => ScheduleExpression !== undefined);
    expect(scheduled.map(targetOf).sort()).toEqual(
      Object.keys(schedules)
        .sort()
        .map((name) => `farshore-berlin-${name}`),
    );
    for (const { ScheduleExpression, Targets } of scheduled) {
      expect(ScheduleExpression).toBe("rate(1 minute)");
      expect(Targets[0]?.Input).toBe('{"everyMs":60000}');
    }
  });

  it("take in what comes on the site's bus, and the region's alarms and AWS Health; the site's own notices go to people", () => {
    const events = rules.filter(({ EventPattern }) => EventPattern !== undefined);
    const seen = events.map((rule) => [rule.EventBusName ?? "default", targetOf(rule), rule.EventPattern]);
    expect(seen).toEqual(
      expect.arrayContaining([
        ["farshore-berlin", "farshore-berlin-receive-event", { source: [{ "anything-but": [noticeSource] }] }],
        [
          "default",
          "farshore-berlin-receive-event",
          {
            source: ["aws.cloudwatch", "aws.health"],
            "detail-type": ["CloudWatch Alarm State Change", "AWS Health Event"],
          },
        ],
        [
          "farshore-berlin",
          "farshore-berlin",
          { source: [noticeSource], "detail-type": [noticeDetailType], account: [testAccount] },
        ],
      ]),
    );
    expect(events).toHaveLength(3);
  });

  it("let in the accounts that are named, and no other", () => {
    template.resourceCountIs("AWS::Events::EventBusPolicy", 0);
    const { template: open } = new SiteTemplate({ event_accounts: ["222222222222"] });
    open.hasResourceProperties("AWS::Events::EventBusPolicy", {
      Statement: Match.objectLike({ Effect: "Allow", Action: "events:PutEvents" }),
    });
  });

  it("reach people: this account's alarms by the topic's policy, the rule of notices by its role, and nobody else", () => {
    const [policy] = site.all("AWS::SNS::TopicPolicy").values();
    const admitted = statementsOf(policy?.["PolicyDocument"]).filter(({ Effect }) => Effect === "Allow");
    expect(admitted).toEqual([
      expect.objectContaining({
        Principal: { Service: ["cloudwatch.amazonaws.com"] },
        Condition: { StringEquals: { "aws:SourceAccount": [testAccount] } },
      }),
    ]);
    const topic = site.arnOf("AWS::SNS::Topic");
    const targetsSchema = z.array(z.object({ Arn: z.string(), RoleArn: z.string().optional() }));
    const targets = [...site.all("AWS::Events::Rule").values()].flatMap(({ Targets }) => targetsSchema.parse(Targets));
    const [notices, ...others] = targets.filter(({ Arn }) => Arn === topic);
    expect(others).toEqual([]);
    expect(site.identityOf(notices?.RoleArn ?? "")).toEqual([
      expect.objectContaining({ Effect: "Allow", Action: ["sns:Publish"], Resource: [topic] }),
    ]);
  });
});

describe("the runbook", () => {
  it("says what to set aside again after a rebuild", () => {
    const [chapter = ""] =
      readFileSync(join(root, "docs/runbook.md"), "utf8").split("## A site on AWS lost its table")[1]?.split("\n## ") ??
      [];
    const said = [...chapter.matchAll(/([a-z-]+)=(\d+)/g)].map(([, name, count]) => [name, Number(count)]);
    const reserved = Object.entries(functionSettings).map(([name, { reservedConcurrency = 0 }]) => [
      name,
      reservedConcurrency,
    ]);
    expect(Object.fromEntries(said)).toEqual(Object.fromEntries(reserved.filter(([, count]) => count !== 0)));
  });
});

describe("alarms", () => {
  const headings = new Set(
    [...readFileSync(join(root, "docs/runbook.md"), "utf8").matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) =>
      text
        .toLowerCase()
        .replaceAll(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
  const alarms = [...site.all("AWS::CloudWatch::Alarm").values()];

  it("say what to do under a heading that the runbook has", () => {
    expect(alarms.length).toBeGreaterThan(10);
    for (const { AlarmDescription, AlarmName } of alarms) {
      const [, heading = "none"] = /docs\/runbook\.md#([\w-]+)$/.exec(String(AlarmDescription)) ?? [];
      expect([...headings], String(AlarmName)).toContain(heading);
    }
  });

  it("are as many, with their metrics, as farshore cost counts", () => {
    expect([alarms.length, Object.keys(metricNames).length]).toEqual([assumed.alarms, assumed.metrics]);
  });

  it("tell the topic, both ways, and take one plain metric each", () => {
    const topic = site.arnOf("AWS::SNS::Topic");
    for (const { AlarmActions, OKActions, Metrics, MetricName } of alarms) {
      expect([AlarmActions, OKActions]).toEqual([[topic], [topic]]);
      expect(Metrics).toBeUndefined();
      expect(MetricName).toBeTypeOf("string");
    }
  });
});

describe("what a stack shows", () => {
  it("is a dashboard with every alarm on it", () => {
    const [{ DashboardName, DashboardBody } = {}, ...others] = site.all("AWS::CloudWatch::Dashboard").values();
    expect([DashboardName, others]).toEqual([`farshore-berlin-${testRegion}`, []]);
    const shown = [...String(DashboardBody).matchAll(/:alarm:(\w+)/g)].map(([, id]) => id);
    expect(shown.sort()).toEqual([...site.all("AWS::CloudWatch::Alarm").keys()].sort());
  });

  it("is the outputs that docs/aws.md has in its table", () => {
    const [, chapter = ""] = readFileSync(join(root, "docs/aws.md"), "utf8").split("| output | what for |");
    const [table = ""] = chapter.split("\n\n");
    const told = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, names = ""]) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    expect(told.sort()).toEqual(Object.keys(template.findOutputs("*")).sort());
  });
});

describe("a site", () => {
  it("is whole by itself: nothing of another stack, region or account", () => {
    const app = new App({ builtinCloudFormationValidation: false });
    const codeOf = () => Code.fromInline("//");
    const stacks = [
      new SiteStack(app, parseSite({ name: "berlin", account: "111111111111", region: "eu-central-1" }), codeOf),
      new SiteStack(app, parseSite({ name: "oregon", account: "222222222222", region: "us-west-2" }), codeOf),
    ];
    const assembly = app.synth();
    for (const [index, stack] of stacks.entries()) {
      expect(stack.dependencies).toEqual([]);
      const text = JSON.stringify(assembly.getStackArtifact(stack.artifactId).template);
      expect(text).not.toMatch(/Fn::ImportValue|AWS::DynamoDB::GlobalTable|"Export"|ReplicationConfiguration/);
      const other = index === 0 ? /oregon|222222222222|us-west-2/ : /berlin|111111111111|eu-central-1/;
      expect(text).not.toMatch(other);
    }
  });

  it("needs no account to be synthesized", () => {
    const stack = new SiteStack(
      new App({ builtinCloudFormationValidation: false }),
      parseSite({ name: "anywhere" }),
      () => Code.fromInline("//"),
    );
    expect(stack.environment).toBe("aws://unknown-account/unknown-region");
  });
});

describe("CloudFormation's rules, as cdk.json has them", { timeout: slowMs }, () => {
  const { context } = z
    .object({ context: z.record(z.string(), z.boolean()) })
    .parse(JSON.parse(readFileSync(join(root, "cdk.json"), "utf8")));
  const synthesize = (config: object, spoil: (stack: Stack) => void = () => undefined) => {
    const app = new App({ context });
    spoil(new SiteStack(app, parseSite({ name: "berlin", ...config }), () => Code.fromInline("//")));
    return app.synth();
  };

  it("take every resource that a site may have", () => {
    synthesize({ encryption: "kms", event_accounts: ["222222222222"], alarm_emails: ["a@example.com"] });
  });

  it("would fail the synthesis of a property that CloudFormation doesn't know", () => {
    const spoil = (stack: Stack) =>
      void new CfnResource(stack, "Spoiled", { type: "AWS::S3::Bucket", properties: { NoSuch: 1 } });
    expect(() => synthesize({}, spoil)).toThrow("NoSuch");
  });
});

describe("cdk-nag", { timeout: slowMs }, () => {
  const check = (config: object, spoil: (stack: Stack) => void = () => undefined) => {
    const app = new App();
    const stack = new SiteStack(app, parseSite({ name: "berlin", ...config }), () => Code.fromInline("//"));
    spoil(stack);
    return new AwsSolutionsChecks(app)
      .validateScope(app)
      .violations.map(({ ruleName, violatingResources }) =>
        [ruleName, ...violatingResources.map(({ constructPath }) => constructPath)].join(" "),
      );
  };

  it.each([{}, { encryption: "kms" }])("finds nothing that isn't acknowledged, with %o", (config) => {
    expect(check(config)).toEqual([]);
  });

  it("would find a bucket without TLS", () => {
    expect(check({}, (stack) => void new Bucket(stack, "Spoiled")).join()).toContain("AwsSolutions-S10");
  });
});
