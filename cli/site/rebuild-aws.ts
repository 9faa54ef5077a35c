import { makeAwsClients } from "#adapters/aws/clients.ts";
import { emptyTable, isEmptyTable } from "#adapters/aws/empty-table.ts";
import { S3Objects } from "#adapters/aws/objects.ts";
import { DynamoTable } from "#adapters/aws/table.ts";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { InvalidInput } from "#core/errors.ts";
import { identityOf, type RebuiltSiteTable, rebuildAll } from "./rebuild.ts";

export interface DeployedSite {
  readonly bucket: string;
  readonly table: string;
  /** By default the one that the SDK finds. */
  readonly region?: string;
  /** Asked before what the table holds is deleted; without it a table that holds anything is refused. */
  readonly mayEmpty?: (siteName: string) => Promise<void>;
}

/**
 * Makes the table of a site on AWS again from its bucket alone, by the credentials that the SDK finds. No function of the site may
 * run meanwhile. Killed in between, it is run again. Throws `InvalidInput` when the bucket is no site's or the table isn't empty and
 * may not be emptied, `Corrupt` naming the object that can't be read.
 */
export async function rebuildDeployedSite(deployed: DeployedSite): Promise<RebuiltSiteTable> {
  const { bucket, table: tableName, region, mayEmpty } = deployed;
  const { s3, dynamo } = makeAwsClients(region === undefined ? {} : { region });
  const common = { clock: new SystemClock(), random: new SystemRandom() };
  const objects = new S3Objects({ client: s3, bucket, ...common });
  const { siteId, name } = await identityOf(objects, `s3://${bucket}`);
  const whole = { client: dynamo, tableName, ...common };
  if (!(await isEmptyTable(whole))) {
    if (mayEmpty === undefined)
      throw new InvalidInput(`table ${tableName} isn't empty: stop the site's functions, then add --replace`);
    await mayEmpty(name);
    await emptyTable(whole);
  }
  return rebuildAll({ siteId, objects, table: new DynamoTable(whole), clock: common.clock });
}
