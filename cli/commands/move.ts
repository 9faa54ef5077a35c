import { type Command, Option } from "commander";
import { operationViewSchema } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { type MoveOptions, removesSeeds, removesSeedsText } from "#core/protection/operation.ts";
import { parseDuration } from "#core/units.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
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

interface MoveFlags extends CommitFlags, ReverseFlag {
  readonly grace: string;
  readonly source: MoveOptions["source"];
  readonly verify?: true;
  readonly dryRun?: true;
  readonly wait?: true;
}

const vpgArgument = ["<vpg>", "name or id"] as const;

/** The flags of `move start` as the options of the operation. Throws `InvalidInput`. */
export function moveOptions(flags: MoveFlags): MoveOptions {
  if (removesSeeds(flags)) throw new InvalidInput(removesSeedsText);
  return {
    graceMs: parseDuration(flags.grace),
    commitPolicy: commitPolicyOf(flags),
    source: flags.source,
    verify: flags.verify === true,
    ...(flags.reverseProtection === true ? { reverseProtection: true } : {}),
  };
}

function registerStart(move: Command): void {
  move
    .command("start")
    .argument(...vpgArgument)
    .option(
      "--grace <time>",
      "how long the VMs may take to shut down",
      `${protectionLimits.shutdownGraceMsDefault / 60_000}m`,
    )
    .addOption(
      new Option(
        "--commit-policy <policy>",
        "what happens when nobody decides: none waits, 30 days at most, and then rolls back",
      )
        .choices(["none", "commit", "rollback"])
        .default("none"),
    )
    .option("--commit-after <time>", "when the commit policy acts; 0 at once")
    .addOption(
      new Option("--source <fate>", "of the source's VMs after the commit: remove runs their own remove hooks")
        .choices(["keep", "remove"])
        .default("keep"),
    )
    .option("--verify", "compare the closed disks with the checkpoint by hashes first; the VMs are down meanwhile")
    .option("--reverse-protection", "once it is committed, give the journal to the site that it came from")
    .option("--dry-run", "only say what would happen: move check")
    .option("--wait", "follow the operation until it has ended or waits for a decision")
    .description("Shut the VPG's VMs down, prove that all they wrote is at the recovery site, and bring them up there.")
    .addHelpText(
      "after",
      "\nExamples:\n  farshore move start shop --wait\n  farshore move start shop --verify --commit-policy commit --commit-after 0\n\nWhatever fails before the commit is undone: the source's volumes are opened and its VMs powered on again.\n",
    )
    .action(async (vpg: string, flags: MoveFlags, command: Command) => {
      const context = contextOf(command);
      const options = moveOptions(flags);
      if (flags.dryRun === true) return printCheck(context, vpg, "move");
      if (options.source === "remove") {
        const consequences = [
          `After the commit this runs the remove hook of each VM of ${vpg} at its source; what those hooks remove is gone,`,
          "and with it the old disks that reverse protection would compare with.",
        ];
        await confirmByName(context, consequences, vpg);
      }
      const wanted = flags.commitPolicy === "rollback" ? "any" : "Completed";
      const ask = { kind: "move", requestId: requestId(), options } as const;
      await startOperation(context, vpg, ask, flags.wait === true ? { for: wanted } : undefined);
    });
}

function registerResume(move: Command): void {
  move
    .command("resume")
    .argument(...vpgArgument)
    .option("--wait", "follow the move until it waits for a decision or has ended")
    .description(
      "Go on with a move that closed the source and that the site has forgotten, since its table was made again.",
    )
    .addHelpText(
      "after",
      "\nIt does again what is missing, and then waits: commit it or roll it back.\n\nExample:\n  farshore move resume shop --wait\n",
    )
    .action(async (vpg: string, flags: { readonly wait?: true }, command: Command) => {
      const { output, client } = contextOf(command);
      const resumed = await client().post(`/v1/vpgs/${encodeURIComponent(vpg)}/move-resume`, operationViewSchema);
      const shown = flags.wait === true ? await watchOperation(output, client(), resumed.operationId) : resumed;
      result(output, shown, () => printOperation(output, shown));
      if (flags.wait === true) process.exitCode = operationExitCode(shown, "Completed");
    });
}

export function registerMove(program: Command): void {
  const move = program
    .command("move")
    .description("Move a VPG to the recovery site without losing a write, commit or roll back.");

  move
    .command("check")
    .argument(...vpgArgument)
    .description("Say what a move would do now and what stands in its way; changes nothing.")
    .addHelpText("after", "\nExample:\n  farshore move check shop\n")
    .action((vpg: string, _options: unknown, command: Command) => printCheck(contextOf(command), vpg, "move"));

  registerStart(move);
  registerResume(move);

  move
    .command("commit")
    .argument(...vpgArgument)
    .description("Make the open move final: the source stays closed, the recovered volumes become local disks.")
    .option("--reverse-protection", "then give the journal to the site that it came from")
    .addHelpText("after", "\nExample:\n  farshore move commit shop --reverse-protection\n")
    .action(async (vpg: string, flags: ReverseFlag, command: Command) => {
      const context = contextOf(command);
      await decideOperation(context, await openLive(context.client(), vpg, "move"), commitBody(flags), "Completed");
    });

  move
    .command("rollback")
    .argument(...vpgArgument)
    .description("Undo the open move: recovered VMs stop, the source's volumes are opened and its VMs powered on.")
    .addHelpText("after", "\nExample:\n  farshore move rollback shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const operation = await openLive(context.client(), vpg, "move");
      await confirmByName(
        context,
        undoConsequences(operation, "Then the source is opened and powered on again."),
        operation.vpgName,
      );
      await decideOperation(context, operation, { decision: "rollback" }, "RolledBack");
    });
}
