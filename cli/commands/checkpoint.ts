import type { Command } from "commander";
import { z } from "zod";
import { type CheckpointView, checkpointListSchema, checkpointSchema, vpgViewSchema } from "#core/api/site-api.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { formatDuration } from "#core/units.ts";
import { awaitCommand } from "../await-command.ts";
import { type Context, contextOf } from "../context.ts";
import { cliLimits } from "../limits.ts";
import { offlineCheckpoints } from "../offline.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";
import { parseTime } from "../selector.ts";
import type { SiteClient } from "../site-client.ts";

interface ListOptions {
  readonly from?: string;
  readonly to?: string;
  readonly tagged?: true;
  readonly nearest?: string;
  readonly summary?: true;
  readonly limit: string;
  readonly offline?: string;
  readonly lostTail?: string;
}

function print(output: Output, checkpoints: readonly CheckpointView[]): void {
  columns(
    output,
    ["CHECKPOINT", "TIME", "TAGS", "PINS"],
    checkpoints.map((row) => [row.id, timeText(row.time), row.tags.join(", "), String(row.pins)]),
  );
}

/** The filters of the list, over checkpoints that are newest first. */
function select(checkpoints: readonly CheckpointView[], options: ListOptions): readonly CheckpointView[] {
  const from = options.from === undefined ? Number.NEGATIVE_INFINITY : parseTime(options.from);
  const to = options.to === undefined ? Number.POSITIVE_INFINITY : parseTime(options.to);
  const inside = checkpoints.filter(
    (row) => row.time >= from && row.time <= to && (options.tagged !== true || row.tags.length > 0),
  );
  if (options.nearest === undefined) return inside;
  const wanted = parseTime(options.nearest);
  return inside.filter((row) => row.time <= wanted).slice(0, 1);
}

async function fetchAll(client: SiteClient, vpg: string, options: ListOptions): Promise<readonly CheckpointView[]> {
  const query = new URLSearchParams();
  if (options.from !== undefined) query.set("from", String(parseTime(options.from)));
  if (options.to !== undefined) query.set("to", String(parseTime(options.to)));
  if (options.lostTail !== undefined) query.set("lostTail", options.lostTail);
  if (options.tagged === true) query.set("tagged", "true");
  if (options.nearest !== undefined) query.set("nearest", String(parseTime(options.nearest)));
  const limit = options.summary === true ? Number.POSITIVE_INFINITY : Number(options.limit);
  const found: CheckpointView[] = [];
  for (;;) {
    query.set("limit", String(Math.min(limit - found.length, cliLimits.pageItems)));
    const page = await client.get(`/v1/vpgs/${encodeURIComponent(vpg)}/checkpoints?${query}`, checkpointListSchema);
    found.push(...page.checkpoints);
    if (page.cursor === undefined || found.length >= limit) return found;
    query.set("cursor", page.cursor);
  }
}

/** The list, or with --summary how many there are, and the first and last. */
function show({ output }: Context, found: readonly CheckpointView[], options: ListOptions): void {
  if (options.lostTail !== undefined) {
    output.note(`Lost tail: acknowledged by the source, and left behind by the commit of ${options.lostTail}.`);
  }
  if (options.summary !== true) {
    const shown = found.slice(0, Number(options.limit));
    result(output, shown, () => print(output, shown));
    return;
  }
  const [newest, oldest] = [found[0] ?? null, found.at(-1) ?? null];
  const summary = {
    total: found.length,
    tagged: found.filter((row) => row.tags.length > 0).length,
    newest,
    oldest,
  };
  result(output, summary, () =>
    fields(output, [
      ["Checkpoints", `${summary.total}, ${summary.tagged} tagged`],
      ["Newest", newest === null ? "-" : `${newest.id} ${timeText(newest.time)}`],
      ["Oldest", oldest === null ? "-" : `${oldest.id} ${timeText(oldest.time)}`],
      ["History", newest === null || oldest === null ? "-" : formatDuration(newest.time - oldest.time)],
    ]),
  );
}

/** Which checkpoints show what a damaged object held is known only by reading them. */
const damagedText = (vpg: string): string =>
  `Objects of this journal are damaged: checkpoints that need one can't be recovered whole. farshore scrub show ${vpg} names ` +
  "them, and farshore view write tries a checkpoint.";

/** Waits until the gateway has put the tagged marker and the site lists it. */
async function waitForTag(client: SiteClient, vpg: string, commandId: string): Promise<CheckpointView> {
  const { checkpointId } = await awaitCommand(client, commandId, "put the tag");
  const query = new URLSearchParams({ kind: "id", value: String(checkpointId) });
  return await client.get(`/v1/vpgs/${encodeURIComponent(vpg)}/checkpoints/resolve?${query}`, checkpointSchema);
}

export function registerCheckpoint(program: Command): void {
  const checkpoint = program.command("checkpoint").description("List a VPG's points in time and tag one.");

  checkpoint
    .command("list")
    .argument("<vpg>", "name or id (with --offline: the id, or the name if the directory holds it)")
    .description("List checkpoints, newest first.")
    .option("--from <time>", "not before this time (ISO 8601 with zone)")
    .option("--to <time>", "not after this time")
    .option("--tagged", "only those with a tag")
    .option("--nearest <time>", "only the greatest at or before this time")
    .option(
      "--lost-tail <operation>",
      "instead of the history, what the commit of this failover left behind: readable with view, never recovered to",
    )
    .option("--summary", "only how many there are, and the first and last")
    .option("--limit <n>", "at most so many", "100")
    .option("--offline <dir>", "read a site's data directory instead of asking the site: needs nothing but its bucket")
    .addHelpText(
      "after",
      "\nExamples:\n  farshore checkpoint list shop --tagged\n  farshore checkpoint list shop --nearest 2026-11-21T20:47:00Z\n  farshore checkpoint list shop --offline /srv/farshore/berlin\n",
    )
    .action(async (vpg: string, options: ListOptions, command: Command) => {
      const context = contextOf(command);
      if (options.offline === undefined) {
        const client = context.client();
        show(context, await fetchAll(client, vpg, options), options);
        const { scrub } = await client.get(`/v1/vpgs/${encodeURIComponent(vpg)}`, vpgViewSchema);
        if ((scrub?.journal.findings ?? 0) > 0) context.output.note(damagedText(vpg));
        return;
      }
      const lostTail = options.lostTail === undefined ? undefined : parseInput(idSchema, options.lostTail);
      const { checkpoints, damage } = await offlineCheckpoints(options.offline, vpg, lostTail);
      show(context, select(checkpoints, options), options);
      if (damage !== undefined) throw damage;
    });

  checkpoint
    .command("create")
    .argument("<vpg>", "name or id")
    .requiredOption("--tag <text>", "what to call it")
    .description("Put a tagged checkpoint into the stream now and wait until it is listed.")
    .addHelpText("after", '\nExample:\n  farshore checkpoint create shop --tag "before the upgrade"\n')
    .action(async (vpg: string, options: { readonly tag: string }, command: Command) => {
      const context = contextOf(command);
      const client = context.client();
      const asked = await client.post(
        `/v1/vpgs/${encodeURIComponent(vpg)}/checkpoints`,
        z.object({ commandId: z.string() }),
        { tag: options.tag },
      );
      const created = await waitForTag(client, vpg, asked.commandId);
      result(context.output, created, () => print(context.output, [created]));
    });
}
