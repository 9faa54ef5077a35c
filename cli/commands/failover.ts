import { type Command, Option } from "commander";
import { ulid } from "ulid";
import { z } from "zod";
import {
  failoverCheckSchema,
  type OperationView,
  operationViewSchema,
  type RetargetAsk,
  type StartOperation,
  vpgViewSchema,
} from "#core/api/site-api.ts";
import { InvalidInput, NotBeforeCommit } from "#core/errors.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { decisionSchema } from "#core/protection/operation.ts";
import { formatDuration, parseDuration } from "#core/units.ts";
import { confirmByName } from "../confirm.ts";
import { type Context, contextOf } from "../context.ts";
import { exitCodes } from "../exit.ts";
import { operationExitCode, printOperation, watchOperation } from "../operation-view.ts";
import { columns, result, timeText } from "../output.ts";
import { parseSelector } from "../selector.ts";
import type { SiteClient } from "../site-client.ts";
import { failOverWholeSite, planOfSite } from "../site-failover.ts";

interface LiveFlags {
  readonly checkpoint: string;
  readonly shutdown: "none" | "graceful" | "force";
  readonly grace: string;
  readonly commitPolicy: "none" | "commit" | "rollback";
  readonly commitAfter?: string;
  readonly concurrency?: number;
  readonly dryRun?: true;
  readonly wait?: true;
}

interface RetargetFlags {
  readonly checkpoint: string;
  readonly wait?: true;
}

const vpgPath = (vpg: string) => `/v1/vpgs/${encodeURIComponent(vpg)}`;

async function check(context: Context, vpg: string): Promise<void> {
  const report = await context.client().get(`${vpgPath(vpg)}/failover-check`, failoverCheckSchema);
  result(context.output, report, () => {
    columns(
      context.output,
      ["", "WHAT", "DETAIL"],
      report.items.map((item) => [item.state, item.what, item.detail]),
    );
    context.output.line("");
    context.output.line(
      report.ready && report.checkpoint !== null
        ? `A live failover now would recover ${report.checkpoint.id} of ${timeText(report.checkpoint.time)}.`
        : "A live failover now would be refused; see the lines marked blocked.",
    );
  });
  if (!report.ready) process.exitCode = exitCodes.failed;
}

/** The flags of `failover live` as the options of the operation. Throws `InvalidInput`. */
export function liveOptions(flags: LiveFlags): Extract<StartOperation, { kind: "failover-live" }>["options"] {
  const timed = flags.commitPolicy !== "none";
  if (timed && flags.commitAfter === undefined) {
    throw new InvalidInput(`--commit-policy ${flags.commitPolicy} needs --commit-after T (0 means at once)`);
  }
  if (!timed && flags.commitAfter !== undefined)
    throw new InvalidInput("--commit-after needs --commit-policy commit or rollback");
  return {
    checkpoint: parseSelector(flags.checkpoint),
    shutdown: { policy: flags.shutdown, graceMs: parseDuration(flags.grace) },
    commitPolicy:
      flags.commitPolicy === "none"
        ? { action: "none" }
        : { action: flags.commitPolicy, afterMs: parseDuration(flags.commitAfter ?? "0") },
  };
}

async function start(
  context: Context,
  vpg: string,
  ask: StartOperation,
  wait: { readonly for: "Completed" | "RolledBack" | "any" } | undefined,
): Promise<void> {
  const client = context.client();
  const started = await client.post(`${vpgPath(vpg)}/operations`, operationViewSchema, ask);
  const shown = wait === undefined ? started : await watchOperation(context.output, client, started.operationId);
  result(context.output, shown, () => printOperation(context.output, shown));
  if (wait !== undefined) process.exitCode = operationExitCode(shown, wait.for);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new InvalidInput(`"${text}" is not a whole number`);
  return Number(text);
}

const requestId = () => ulid().toLowerCase() as StartOperation["requestId"];

async function openLive(client: SiteClient, vpg: string): Promise<OperationView> {
  const view = await client.get(vpgPath(vpg), vpgViewSchema);
  if (view.operationId === null) throw new NotBeforeCommit(`${view.name} has no failover to decide on`);
  return await client.get(`/v1/operations/${view.operationId}`, operationViewSchema);
}

async function decide(
  context: Context,
  operation: OperationView,
  body: unknown,
  wanted: "Completed" | "RolledBack",
): Promise<void> {
  const client = context.client();
  await client.post(`/v1/operations/${operation.operationId}/decision`, z.object({ decision: decisionSchema }), body);
  const ended = await watchOperation(context.output, client, operation.operationId);
  result(context.output, ended, () => printOperation(context.output, ended));
  process.exitCode = operationExitCode(ended, wanted);
}

async function retarget(context: Context, vpg: string, flags: RetargetFlags): Promise<void> {
  const client = context.client();
  const checkpoint = parseSelector(flags.checkpoint);
  const operation = await openLive(client, vpg);
  const consequences = [
    `This stops the recovered VMs of ${operation.vpgName} and detaches what they wrote since ${timeText(operation.createdAt)};`,
    `that stays readable for ${formatDuration(protectionLimits.scratchKeptMs)} and is then removed. They boot again at the other checkpoint.`,
  ];
  await confirmByName(context, consequences, operation.vpgName);
  const ask: RetargetAsk = { checkpoint, requestId: requestId() };
  const path = `/v1/operations/${operation.operationId}/retarget`;
  const asked = await client.post(path, operationViewSchema, ask);
  const shown = flags.wait === true ? await watchOperation(context.output, client, asked.operationId, true) : asked;
  result(context.output, shown, () => printOperation(context.output, shown));
  if (flags.wait === true) process.exitCode = operationExitCode(shown, "any");
}

function registerTest(failover: Command): void {
  const test = failover
    .command("test")
    .description("Try a failover beside production: replication and checkpoints go on.");
  test
    .command("start")
    .argument("<vpg>", "name or id")
    .option("--checkpoint <which>", "latest, an id, a time with zone, or tag:TEXT", "latest")
    .description("Bring the VPG up in test mode and wait until it runs.")
    .addHelpText("after", "\nExample:\n  farshore failover test start shop --checkpoint tag:before-upgrade\n")
    .action(async (vpg: string, options: { readonly checkpoint: string }, command: Command) => {
      const ask = {
        kind: "failover-test",
        requestId: requestId(),
        options: { checkpoint: parseSelector(options.checkpoint) },
      } as const;
      await start(contextOf(command), vpg, ask, { for: "any" });
    });
  test
    .command("stop")
    .argument("<vpg>", "name or id")
    .argument("<operation>", "the test's id (farshore operation list)")
    .addOption(
      new Option("--success <verdict>", "did the test show what it should?")
        .choices(["yes", "no"])
        .makeOptionMandatory(),
    )
    .option("--notes <text>", "for the report", "")
    .description("End a test: removes everything it made, tags the checkpoint as tested, stores the report.")
    .addHelpText(
      "after",
      '\nExample:\n  farshore failover test stop shop ID --success yes --notes "orders are all there"\n',
    )
    .action(
      async (
        vpg: string,
        id: string,
        options: { readonly success: string; readonly notes: string },
        command: Command,
      ) => {
        const context = contextOf(command);
        const client = context.client();
        const operation = await client.get(`/v1/operations/${encodeURIComponent(id)}`, operationViewSchema);
        if (operation.kind !== "failover-test" || ![operation.vpgName, operation.vpgId].includes(vpg)) {
          throw new InvalidInput(`${id} is no failover test of ${vpg} (farshore operation list)`);
        }
        const body = { decision: "stop", success: options.success === "yes", notes: options.notes };
        await decide(context, operation, body, "Completed");
      },
    );
}

export function registerFailover(program: Command): void {
  const failover = program
    .command("failover")
    .description("Fail over for real, try it beside production, commit or roll back.");

  failover
    .command("check")
    .argument("<vpg>", "name or id")
    .description("Say what a live failover would do now and what stands in its way; changes nothing.")
    .addHelpText("after", "\nExample:\n  farshore failover check shop\n")
    .action((vpg: string, _options: unknown, command: Command) => check(contextOf(command), vpg));

  failover
    .command("live")
    .argument("[vpg]", "name or id; without it --site NAME says whose VPGs are all failed over")
    .option("--checkpoint <which>", "latest, an id, a time with zone, or tag:TEXT", "latest")
    .addOption(
      new Option(
        "--shutdown <policy>",
        "of the source: none assumes it is gone, graceful fails when it does not stop, force cuts it off after the grace",
      )
        .choices(["none", "graceful", "force"])
        .default("none"),
    )
    .option("--grace <time>", "how long a shutdown may take", `${protectionLimits.shutdownGraceMsDefault / 60_000}m`)
    .addOption(
      new Option("--commit-policy <policy>", "what happens when nobody decides: none waits")
        .choices(["none", "commit", "rollback"])
        .default("none"),
    )
    .option("--commit-after <time>", "when the commit policy acts; 0 at once")
    .option("--concurrency <n>", "of a whole site: VPGs brought up at the same time", wholeNumber)
    .option("--dry-run", "only say what would happen: failover check, or the order of a whole site")
    .option("--wait", "follow the operation until it has ended or waits for a decision")
    .description(
      "Bring the VPG, or all VPGs of a protected site, up at the recovery site; nothing is final before commit.",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  farshore failover live shop --wait\n  farshore failover live shop --checkpoint tag:before-upgrade --shutdown force --grace 2m\n  farshore failover live shop --commit-policy rollback --commit-after 1h\n  farshore failover live --site paris --dry-run\n\n--site NAME is the protected site as VPGs name it; the site to talk to is then FARSHORE_SITE. It follows until each VPG is up,\nfailed or blocked (exit status 3 when not all are up); repeat it to go on after an interruption: nothing starts twice.\n",
    )
    .action(async (vpg: string | undefined, flags: LiveFlags, command: Command) => {
      const context = contextOf(command, { protectedSite: true });
      const options = liveOptions(flags);
      const { protectedSite, output } = context;
      if ((vpg === undefined) === (protectedSite === undefined)) {
        throw new InvalidInput("name a VPG, or a protected site with --site NAME; one of the two");
      }
      if (protectedSite !== undefined) {
        if (flags.dryRun === true) return planOfSite(output, context.client(), protectedSite);
        const { concurrency } = flags;
        const ask = { requestId: requestId(), options, ...(concurrency === undefined ? {} : { concurrency }) };
        return failOverWholeSite(output, context.client(), protectedSite, ask);
      }
      if (vpg === undefined) return;
      if (flags.dryRun === true) return check(context, vpg);
      const wanted = flags.commitPolicy === "rollback" ? "any" : "Completed";
      const ask = { kind: "failover-live", requestId: requestId(), options } as const;
      await start(context, vpg, ask, flags.wait === true ? { for: wanted } : undefined);
    });

  failover
    .command("commit")
    .argument("<vpg>", "name or id")
    .description("Make the open failover final: the old source is fenced, the recovered volumes become local disks.")
    .addHelpText("after", "\nExample:\n  farshore failover commit shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      await decide(context, await openLive(context.client(), vpg), { decision: "commit" }, "Completed");
    });

  failover
    .command("rollback")
    .argument("<vpg>", "name or id")
    .description("Undo the open failover: recovered VMs stop, protection goes on as it was.")
    .addHelpText("after", "\nExample:\n  farshore failover rollback shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const operation = await openLive(context.client(), vpg);
      const consequences = [
        `This stops the recovered VMs of ${operation.vpgName} and detaches what they wrote since ${timeText(operation.createdAt)};`,
        `that stays readable for ${formatDuration(protectionLimits.scratchKeptMs)} and is then removed. Checkpoints and replication are not touched.`,
      ];
      await confirmByName(context, consequences, operation.vpgName);
      await decide(context, operation, { decision: "rollback" }, "RolledBack");
    });

  failover
    .command("retarget")
    .argument("<vpg>", "name or id")
    .requiredOption("--checkpoint <which>", "latest, an id, a time with zone, or tag:TEXT")
    .option("--wait", "follow the operation until its VMs run at the checkpoint, or could not be brought up there")
    .description("Take the open failover to another checkpoint; it then waits for a decision again.")
    .addHelpText("after", "\nExample:\n  farshore failover retarget shop --checkpoint 2026-11-21T20:47:00Z --wait\n")
    .action((vpg: string, flags: RetargetFlags, command: Command) => retarget(contextOf(command), vpg, flags));

  registerTest(failover);
}
