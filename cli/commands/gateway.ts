import type { Command } from "commander";
import { contextOf } from "../context.ts";
import { fewerCollections, steadyMemory } from "../steady-memory.ts";
import { untilStopped } from "../until-stopped.ts";

export function registerGateway(program: Command): void {
  program
    .command("gateway")
    .description("Run a gateway: exports disks over NBD and replicates their writes, or exports recovered ones.")
    .command("run")
    .requiredOption("--config <file>", "TOML file (farshore init writes examples)")
    .description("Run a gateway until stopped; SIGTERM drains what is buffered and marks the disks clean.")
    .addHelpText("after", "\nExample:\n  FARSHORE_TOKEN=... farshore gateway run --config source-gateway.toml\n")
    .action(async (options: { readonly config: string }, command: Command) => {
      steadyMemory();
      fewerCollections();
      const { output } = contextOf(command);
      const { runGateway } = await import("../../gateway/main.ts");
      const running = await runGateway({ configFile: options.config });
      output.note(`gateway runs; stop it with SIGTERM (process ${process.pid})`);
      await untilStopped(running);
    });
}
