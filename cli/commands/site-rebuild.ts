import type { Command } from "commander";
import { InvalidInput } from "#core/errors.ts";
import { confirmByName } from "../confirm.ts";
import { type Context, contextOf } from "../context.ts";
import { result } from "../output.ts";

interface RebuildOptions {
  readonly data?: string;
  readonly bucket?: string;
  readonly table?: string;
  readonly region?: string;
  readonly replace?: true;
}

export function registerSiteRebuild(site: Command): void {
  site
    .command("rebuild")
    .option("--data <dir>", "an embedded site's directory; nothing may be serving it")
    .option("--bucket <name>", "a site on AWS: its stack's output Bucket; none of its functions may run")
    .option("--table <name>", "its output Table")
    .option("--region <name>", "its region; by default what the AWS SDK finds")
    .option("--replace", "empty the table first, when it holds something")
    .description("Make the site's table again from its bucket alone.")
    .addHelpText(
      "after",
      `
Tokens stand in the bucket as hashes and stay valid. If the operator's is lost, remove <dir>/operator.token: the next serve writes a new one.
On AWS it takes s3:ListBucket and s3:GetObject of the bucket, and dynamodb:Scan, BatchWriteItem, GetItem, Query, PutItem, UpdateItem, DeleteItem
of the table. How to stop the functions: docs/runbook.md, "A site on AWS lost its table".

Examples:
  farshore site rebuild --data /srv/farshore/berlin
  farshore site rebuild --bucket BUCKET --table TABLE --region eu-central-1 --replace
`,
    )
    .action(async (options: RebuildOptions, command: Command) => {
      const context = contextOf(command);
      const rebuilt = await rebuild(options, context);
      result(context.output, rebuilt, () => {
        for (const vpg of rebuilt.vpgs) {
          context.output.line(
            `${vpg.name}: term ${vpg.term}, ${vpg.sessions} sessions, ${vpg.batches} batches, ${vpg.checkpoints} checkpoints`,
          );
        }
      });
    });
}

async function rebuild({ data, bucket, table, region, replace }: RebuildOptions, context: Context) {
  const onAws = [bucket, table, region, replace].some((option) => option !== undefined);
  if (data !== undefined && !onAws) {
    const { rebuildSite } = await import("../site/rebuild.ts");
    return rebuildSite({ dataDir: data });
  }
  if (data !== undefined || bucket === undefined || table === undefined)
    throw new InvalidInput("give --data of an embedded site, or --bucket and --table of a site on AWS");
  const { rebuildDeployedSite } = await import("../site/rebuild-aws.ts");
  const consequences = [
    `Table ${table} is emptied and made again from bucket ${bucket}.`,
    "Operations under way, their pins, commands and pauses are lost. Every function of the site must be stopped.",
  ];
  const mayEmpty = (siteName: string) => confirmByName(context, consequences, siteName);
  return rebuildDeployedSite({
    bucket,
    table,
    ...(region === undefined ? {} : { region }),
    ...(replace === undefined ? {} : { mayEmpty }),
  });
}
