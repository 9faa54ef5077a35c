import type { Command } from "commander";
import { z } from "zod";
import { operationViewSchema } from "#core/api/site-api.ts";
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
}
