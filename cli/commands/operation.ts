import type { Command } from "commander";
import { z } from "zod";
import { operationViewSchema, vpgViewSchema } from "#core/api/site-api.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { fetchOperation, operationExitCode, printOperation, watchOperation } from "../operation-view.ts";
import { columns, result, timeText } from "../output.ts";

export function registerOperation(program: Command): void {
  const operation = program.command("operation").description("Look at failovers and tests: under way and ended.");

  operation
    .command("list")
    .option("--vpg <vpg>", "only of this VPG")
    .option("--open", "only those under way")
    .description("List operations, newest first.")
    .addHelpText("after", "\nExample:\n  farshore operation list --vpg shop --open\n")
    .action(async (options: { readonly vpg?: string; readonly open?: true }, command: Command) => {
      const { output, client } = contextOf(command);
      const query = new URLSearchParams();
      if (options.vpg !== undefined) query.set("vpg", options.vpg);
      if (options.open === true) query.set("open", "true");
      const { operations } = await client().get(
        `/v1/operations?${query}`,
        z.object({ operations: z.array(operationViewSchema) }),
      );
      result(output, operations, () =>
        columns(
          output,
          ["OPERATION", "KIND", "VPG", "PHASE", "STARTED", "BY"],
          operations.map((row) => [
            row.operationId,
            row.kind,
            row.vpgName,
            row.phase,
            timeText(row.createdAt),
            row.initiatedBy,
          ]),
        ),
      );
    });

  operation
    .command("show")
    .argument("<id>", "the operation's id (farshore operation list)")
    .description("Show one operation and its steps.")
    .addHelpText("after", "\nExample:\n  farshore operation show ID\n")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await fetchOperation(client(), id);
      result(output, shown, () => printOperation(output, shown));
    });

  operation
    .command("watch")
    .argument("<id>", "the operation's id (farshore operation list)")
    .description("Follow an operation until it has ended or waits for a decision.")
    .addHelpText("after", "\nExample:\n  farshore operation watch ID\n")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await watchOperation(output, client(), id);
      result(output, shown, () => printOperation(output, shown));
      process.exitCode = operationExitCode(shown, "any");
    });

  operation
    .command("retry")
    .argument("<id>", "the operation's id (farshore operation list)")
    .description("Start another attempt of a failed operation; steps that are done are not done again.")
    .addHelpText("after", "\nExample:\n  farshore operation retry ID\n")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const shown = await client().post(`/v1/operations/${encodeURIComponent(id)}/retry`, operationViewSchema);
      result(output, shown, () => printOperation(output, shown));
    });

  operation
    .command("forget")
    .argument("<id>", "the operation's id (the alerts operation-forgotten and operation-failed, farshore vpg show)")
    .description(
      "Declare an operation to be over that the site lost with its table, or that failed with its volumes attached; you have looked.",
    )
    .addHelpText(
      "after",
      "\nIt held its VPG, since its recovered VMs may run. Once it is declared to be over, failovers may start, old VMs be powered on, and" +
        "\nwhat only its volumes read is deleted. A move is better gone on with: farshore move resume VPG.\n\nExample:\n  farshore operation forget ID\n",
    )
    .action(async (id: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const consequences = [
        `The site lost its table while operation ${id} was open, or it failed with its volumes attached: its VMs may run.`,
        "If it was not committed: its recovered VMs must be stopped and its volumes no longer exported at the recovery gateway, or there will be two copies.",
        "If it was committed: its volumes must be local disks by now, or copied; what of the journal they alone read will be deleted.",
      ];
      await confirmByName(context, consequences, id);
      const path = `/v1/operations/${encodeURIComponent(id)}/forget`;
      const { name, role } = await context.client().post(path, vpgViewSchema);
      result(context.output, { operation: id, vpg: name, role }, () =>
        context.output.line(`${name}: no longer held by operation ${id} (role ${role})`),
      );
    });
}
