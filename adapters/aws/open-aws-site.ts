import { claimIdentity } from "#core/protection/identity.ts";
import type { Site } from "#core/site.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { awsClients } from "./clients.ts";
import type { AwsEnvironment } from "./environment.ts";
import { createAwsLog } from "./log.ts";
import { EventBridgeNotify } from "./notify.ts";
import { S3Objects } from "./objects.ts";
import { DynamoTable } from "./table.ts";
import { StepFunctionsWorkflows } from "./workflows.ts";

/**
 * The site that a deployed function belongs to. The bucket says which one that is: its identity is made by the first function
 * that ever runs, so each may put `site.json`. Throws what the bucket throws, and `InvalidInput` for the bucket of another site.
 */
export async function openAwsSite(environment: AwsEnvironment): Promise<Site> {
  const { s3, dynamo, stepFunctions, eventBridge } = awsClients();
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const { bucket, bucketOwner, table, stateMachinePrefix, bus, siteName, logLevel } = environment;
  const objects = new S3Objects({ client: s3, bucket, owner: bucketOwner, clock, random });
  const { siteId } = await claimIdentity(objects, siteName, { clock, random });
  return {
    siteId,
    siteName,
    objects,
    table: new DynamoTable({ client: dynamo, tableName: table, clock, random }),
    workflows: new StepFunctionsWorkflows({ client: stepFunctions, machinePrefix: stateMachinePrefix }),
    clock,
    random,
    log: createAwsLog({ level: logLevel, siteName }),
    notify: new EventBridgeNotify({ client: eventBridge, bus }),
  };
}
