import type { Command } from "commander";
import { ulid } from "ulid";
import { operationViewSchema } from "#core/api/site-api.ts";
import { contextOf } from "../context.ts";
import { operationExitCode, printOperation, watchOperation } from "../operation-view.ts";
import { result } from "../output.ts";

export function registerSync(program: Command): void {
  program
    .command("sync")
    .argument("<vpg>", "name or id of the VPG")
    .option("--no-wait", "return at once; farshore operation watch ID follows it")
    .description(
      "Compare every chunk of a VPG's disks with its journal and ship what differs; checkpoints stay usable, and no new one is made until it ends.",
    )
    .addHelpText("after", "\nExample:\n  farshore sync shop\n")
    .action(async (vpg: string, options: { readonly wait: boolean }, command: Command) => {
      const { output, client } = contextOf(command);
      const ask = { requestId: ulid().toLowerCase() };
      const started = await client().post(`/v1/vpgs/${encodeURIComponent(vpg)}/sync`, operationViewSchema, ask);
      const shown = options.wait ? await watchOperation(output, client(), started.operationId) : started;
      result(output, shown, () => printOperation(output, shown));
      if (options.wait) process.exitCode = operationExitCode(shown, "Completed");
    });
}
