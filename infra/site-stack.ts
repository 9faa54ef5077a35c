import { Aws, CfnOutput, RemovalPolicy, Stack } from "aws-cdk-lib";
import { Key } from "aws-cdk-lib/aws-kms";
import type { Code, Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import type { Construct } from "constructs";
import { functionSettings, schedules } from "./constructs/function-settings.ts";
import { FunctionUrls } from "./constructs/function-urls.ts";
import { JournalBucket } from "./constructs/journal-bucket.ts";
import { SiteAlarms } from "./constructs/site-alarms.ts";
import { SiteDashboard } from "./constructs/site-dashboard.ts";
import { SiteEvents } from "./constructs/site-events.ts";
import { SiteFunctions } from "./constructs/site-functions.ts";
import { machineArn, siteName } from "./constructs/site-names.ts";
import { SiteTable } from "./constructs/site-table.ts";
import { SiteTopic } from "./constructs/site-topic.ts";
import { StateMachines } from "./constructs/state-machines.ts";
import { functionFolders, pascalCase } from "./folders.ts";
import type { SiteConfig } from "./site-config.ts";

/** The code of each function, by its folder. */
export type CodeOf = (folder: string) => Code;

/** One site, whole by itself: it refers to nothing of any other stack, region or account (invariant 3). */
export class SiteStack extends Stack {
  constructor(scope: Construct, config: SiteConfig, codeOf: CodeOf) {
    const { name: site, account, region, remove_data: removeData } = config;
    super(scope, siteName(site), {
      description: `Farshore: recovery site ${site}`,
      terminationProtection: !removeData,
      ...(account === undefined || region === undefined ? {} : { env: { account, region } }),
    });
    const logRetention = config.log_retention_days;
    const removalPolicy = removeData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const key =
      config.encryption === "kms"
        ? new Key(this, "Key", { description: `Farshore: site ${site}`, enableKeyRotation: true, removalPolicy })
        : undefined;
    const journal = new JournalBucket(this, "Journal", { key, removeData });
    const { bucket } = journal;
    const { table } = new SiteTable(this, "Index", { key, removeData });
    const functions = new SiteFunctions(this, "Functions", {
      ...{ site, bucket, table, key, codeOf, logRetention },
      reserveConcurrency: config.reserve_concurrency,
      peers: config.peers,
      environment: {
        FARSHORE_SITE_NAME: site,
        FARSHORE_BUCKET: bucket.bucketName,
        FARSHORE_BUCKET_OWNER: Aws.ACCOUNT_ID,
        FARSHORE_TABLE: table.tableName,
        FARSHORE_STATE_MACHINE_PREFIX: `${machineArn(this, siteName(site))}-`,
        FARSHORE_OPERATOR_ARNS: config.operators.join(","),
      },
    });
    const functionOf = (folder: string): LambdaFunction => functions.of(folder);
    const { role: collector } = functionOf("collect-journal");
    if (collector !== undefined) journal.letCollect(collector);
    const machines = new StateMachines(this, "Workflows", { site, functionOf, logRetention }).byName;
    const urls = this.#urls(config, functionOf);
    functionOf("gateway-api").addEnvironment("FARSHORE_INGEST_URL", urls.get("ingest-batch") ?? "");
    const { topic } = new SiteTopic(this, "Notices", { site, emails: config.alarm_emails });
    const events = new SiteEvents(this, "Events", { site, functionOf, topic, accounts: config.event_accounts });
    const pick = (folders: readonly string[]) => new Map(folders.map((folder) => [folder, functionOf(folder)]));
    const { alarms } = new SiteAlarms(this, "Alarms", {
      ...{ site, topic, machines, table, deadLetters: events.deadLetters },
      answering: pick([...urls.keys()]),
      scheduled: pick(Object.keys(schedules)),
    });
    new SiteDashboard(this, "Overview", { site, alarms, functions: functions.all, machines: [...machines.values()] });
    this.#tell({
      Bucket: bucket.bucketName,
      Table: table.tableName,
      Bus: events.bus.eventBusName,
      Topic: topic.topicArn,
      DeadLetters: events.deadLetters.queueUrl,
      PeerRole: functionOf("ask-peer").role?.roleArn ?? "",
      ...Object.fromEntries(
        [...machines].map(([folder, { stateMachineArn }]) => [`${pascalCase(folder)}Machine`, stateMachineArn]),
      ),
      ...Object.fromEntries([...urls].map(([folder, url]) => [`${pascalCase(folder)}Url`, url])),
    });
  }

  /** The functions' URLs by folder, and who may call them. */
  #urls({ gateways, operators, people }: SiteConfig, functionOf: (folder: string) => LambdaFunction) {
    const groups = [
      { id: "Gateways", url: "gateways", principals: gateways, who: "gateways of this site" },
      { id: "People", url: "people", principals: [...new Set([...operators, ...people])], who: "people of this site" },
    ] as const;
    return new Map(
      groups.flatMap(({ id, url, principals, who }) => {
        const folders = functionFolders.filter((folder) => functionSettings[folder]?.url === url);
        const description = `Farshore: what ${who} may call; attach it to their roles`;
        const made = new FunctionUrls(this, id, { functions: folders.map(functionOf), principals, description });
        this.#tell({ [`${id}Policy`]: made.policy.managedPolicyArn });
        return folders.map((folder, index) => [folder, made.urls[index] ?? ""] as const);
      }),
    );
  }

  #tell(outputs: Readonly<Record<string, string>>): void {
    for (const [id, value] of Object.entries(outputs)) new CfnOutput(this, id, { value });
  }
}
