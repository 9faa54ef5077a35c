import { claimSite } from "#core/protection/table-layout.ts";
import type { Site } from "#core/site.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { HttpPeers } from "../http-peers.ts";
import { awsClients } from "./clients.ts";
import type { AwsEnvironment } from "./environment.ts";
import { createAwsLog } from "./log.ts";
import { EventBridgeNotify } from "./notify.ts";
import { S3Objects } from "./objects.ts";
import { DynamoTable } from "./table.ts";
import { StepFunctionsWorkflows } from "./workflows.ts";

/**
 * The site that a deployed function belongs to. The bucket says which one that is: its identity is made by the first function
 * that ever runs, so each may put `site.json`. Throws what bucket and table throw, `InvalidInput` for the bucket of another site, `TableBehindBucket` for a table that this code can't
 * read.
 */
export async function openAwsSite(environment: AwsEnvironment): Promise<Site> {
  const { s3, dynamo, stepFunctions, eventBridge } = awsClients();
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const { bucket, bucketOwner, table: tableName, stateMachinePrefix, bus, siteName, logLevel } = environment;
  const objects = new S3Objects({ client: s3, bucket, owner: bucketOwner, clock, random });
  const table = new DynamoTable({ client: dynamo, tableName, clock, random });
  const { siteId } = await claimSite({ objects, table }, siteName, { clock, random });
  return {
    siteId,
    siteName,
    objects,
    table,
    workflows: new StepFunctionsWorkflows({ client: stepFunctions, machinePrefix: stateMachinePrefix }),
    clock,
    random,
    log: createAwsLog({ level: logLevel, siteName }),
    notify: new EventBridgeNotify({ client: eventBridge, bus }),
    // A site on AWS signs; tokens are of embedded sites.
    peers: new HttpPeers({ tokenOf: async () => undefined, clock }),
  };
}
