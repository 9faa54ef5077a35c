import { type Command, Option } from "commander";
import { operationViewSchema, type RetargetAsk, type StartOperation } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { parseDuration } from "#core/units.ts";
import { confirmByName } from "../confirm.ts";
import { type Context, contextOf } from "../context.ts";
import {
  type CommitFlags,
  commitBody,
  commitPolicyOf,
  decideOperation,
  openLive,
  printCheck,
  type ReverseFlag,
  requestId,
  startOperation,
  undoConsequences,
} from "../live-operation.ts";
import { operationExitCode, printOperation, watchOperation } from "../operation-view.ts";
import { result } from "../output.ts";
import { parseSelector } from "../selector.ts";
import { failOverWholeSite, planOfSite } from "../site-failover.ts";

interface LiveFlags extends CommitFlags, ReverseFlag {
  readonly checkpoint: string;
  readonly shutdown: "none" | "graceful" | "force";
  readonly grace: string;
  readonly concurrency?: number;
  readonly dryRun?: true;
  readonly wait?: true;
}

interface RetargetFlags {
  readonly checkpoint: string;
  readonly wait?: true;
}

/** The flags of `failover live` as the options of the operation. Throws `InvalidInput`. */
export function liveOptions(flags: LiveFlags): Extract<StartOperation, { kind: "failover-live" }>["options"] {
  return {
    checkpoint: parseSelector(flags.checkpoint),
    shutdown: { policy: flags.shutdown, graceMs: parseDuration(flags.grace) },
    commitPolicy: commitPolicyOf(flags),
    ...(flags.reverseProtection === true ? { reverseProtection: true } : {}),
  };
}

function wholeNumber(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new InvalidInput(`"${text}" is not a whole number`);
  return Number(text);
}

async function retarget(context: Context, vpg: string, flags: RetargetFlags): Promise<void> {
  const client = context.client();
  const checkpoint = parseSelector(flags.checkpoint);
  const operation = await openLive(client, vpg, "failover-live");
  await confirmByName(
    context,
    undoConsequences(operation, "They boot again at the other checkpoint."),
    operation.vpgName,
  );
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
      await startOperation(contextOf(command), vpg, ask, { for: "any" });
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
        await decideOperation(context, operation, body, "Completed");
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
    .action((vpg: string, _options: unknown, command: Command) => printCheck(contextOf(command), vpg, "failover"));

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
      new Option(
        "--commit-policy <policy>",
        "what happens when nobody decides: none waits, 30 days at most, and then rolls back",
      )
        .choices(["none", "commit", "rollback"])
        .default("none"),
    )
    .option("--commit-after <time>", "when the commit policy acts; 0 at once")
    .option("--reverse-protection", "once it is committed, give the journal to the site that it came from")
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
      if (flags.dryRun === true) return printCheck(context, vpg, "failover");
      const wanted = flags.commitPolicy === "rollback" ? "any" : "Completed";
      const ask = { kind: "failover-live", requestId: requestId(), options } as const;
      await startOperation(context, vpg, ask, flags.wait === true ? { for: wanted } : undefined);
    });

  failover
    .command("commit")
    .argument("<vpg>", "name or id")
    .description("Make the open failover final: the old source is fenced, the recovered volumes become local disks.")
    .option("--reverse-protection", "then give the journal to the site that it came from")
    .addHelpText("after", "\nExample:\n  farshore failover commit shop --reverse-protection\n")
    .action(async (vpg: string, flags: ReverseFlag, command: Command) => {
      const context = contextOf(command);
      const operation = await openLive(context.client(), vpg, "failover-live");
      await decideOperation(context, operation, commitBody(flags), "Completed");
    });

  failover
    .command("rollback")
    .argument("<vpg>", "name or id")
    .description("Undo the open failover: recovered VMs stop, protection goes on as it was.")
    .addHelpText("after", "\nExample:\n  farshore failover rollback shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const operation = await openLive(context.client(), vpg, "failover-live");
      await confirmByName(
        context,
        undoConsequences(operation, "Checkpoints and replication are not touched."),
        operation.vpgName,
      );
      await decideOperation(context, operation, { decision: "rollback" }, "RolledBack");
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
