import type { Command } from "commander";
import { ulid } from "ulid";
import { z } from "zod";
import { operationViewSchema, type StartOperation, vpgViewSchema } from "#core/api/site-api.ts";
import { NotBeforeCommit } from "#core/errors.ts";
import { decisionSchema } from "#core/protection/operation.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { operationExitCode, printOperation, watchOperation } from "../operation-view.ts";
import { fields, result } from "../output.ts";

interface StartFlags {
  readonly gatewayLost?: true;
  readonly force?: true;
  readonly wait?: true;
}

const vpgPath = (vpg: string) => `/v1/vpgs/${encodeURIComponent(vpg)}`;

/** What each of the two costs; said before anything is asked of the site. */
const costs = {
  gatewayLost: (name: string, peer: string): readonly string[] => [
    `Nothing is closed at ${peer}: if its gateway of ${name} is not gone for good, somebody may still write to its disks,`,
    "and both copies take writes. Nothing of those disks is used: everything is sent.",
  ],
  force: (name: string, peer: string): readonly string[] => [
    `${name} goes on here alone and without a journal. If site ${peer} is not lost for good it may hold a journal of this`,
    "term already, be failed over, and run a second copy that nobody can join with this one again.",
  ],
};

export function registerReverseProtection(program: Command): void {
  const reverse = program
    .command("reverse-protection")
    .description("Protect a VPG that was failed over here at the site that it came from.");

  reverse
    .command("start")
    .argument("<vpg>", "name or id")
    .option("--gateway-lost", "the peer's gateway is gone: nothing is closed there, and its old disks are not used")
    .option("--force", "the peer is lost for good after its term began: go on here without a journal")
    .option("--wait", "follow the operation to its end")
    .description("Give the VPG's journal to the site that it was protected at; its old disks save what they can.")
    .addHelpText(
      "after",
      "\nExamples:\n  farshore reverse-protection start shop --wait\n  farshore reverse-protection start shop --gateway-lost\n\nThe peer closes its gateways first and takes no writes from then on. Until it has closed them,\n`farshore reverse-protection withdraw` takes everything back; later it is only ever completed (`farshore operation retry`).\n",
    )
    .action(async (vpg: string, flags: StartFlags, command: Command) => {
      const context = contextOf(command);
      const client = context.client();
      const { name, protectedSite } = await client.get(vpgPath(vpg), vpgViewSchema);
      const options = { gatewayLost: flags.gatewayLost === true, force: flags.force === true };
      const said = [
        ...(options.gatewayLost ? costs.gatewayLost(name, protectedSite) : []),
        ...(options.force ? costs.force(name, protectedSite) : []),
      ];
      if (said.length > 0) await confirmByName(context, said, name);
      const requestId = ulid().toLowerCase() as StartOperation["requestId"];
      const ask: StartOperation = { kind: "reverse-protection", options, requestId };
      const started = await client.post(`${vpgPath(vpg)}/operations`, operationViewSchema, ask);
      const wait = flags.wait === true;
      const shown = wait ? await watchOperation(context.output, client, started.operationId) : started;
      result(context.output, shown, () => printOperation(context.output, shown));
      if (wait) process.exitCode = operationExitCode(shown, options.force ? "RolledBack" : "Completed");
    });

  reverse
    .command("show")
    .argument("<vpg>", "name or id")
    .description("Show where reverse protection of the VPG stands.")
    .addHelpText("after", "\nExample:\n  farshore reverse-protection show shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const view = await client().get(vpgPath(vpg), vpgViewSchema);
      const { operations } = await client().get(
        `/v1/operations?vpg=${view.vpgId}`,
        z.object({ operations: z.array(operationViewSchema) }),
      );
      const newest = operations.find(({ kind }) => kind === "reverse-protection");
      result(output, { vpg: view, operation: newest ?? null }, () => {
        fields(output, [
          ["VPG", `${view.name}: ${view.status}, ${view.substatus}`],
          ["Here", `${view.role} in term ${view.term}`],
          ["Peer", view.protectedSite],
        ]);
        if (newest !== undefined) printOperation(output, newest);
      });
    });

  reverse
    .command("withdraw")
    .argument("<vpg>", "name or id")
    .description("Take the offer back while the peer closes its gateways; they stay closed, for the VPG runs here.")
    .addHelpText("after", "\nExample:\n  farshore reverse-protection withdraw shop\n")
    .action(async (vpg: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const client = context.client();
      const { operationId, name } = await client.get(vpgPath(vpg), vpgViewSchema);
      if (operationId === null) throw new NotBeforeCommit(`${name} has no reverse protection under way`);
      const body = { decision: "rollback" };
      await client.post(`/v1/operations/${operationId}/decision`, z.object({ decision: decisionSchema }), body);
      const ended = await watchOperation(context.output, client, operationId);
      result(context.output, ended, () => printOperation(context.output, ended));
      process.exitCode = operationExitCode(ended, "RolledBack");
    });
}
