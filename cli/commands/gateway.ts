import type { Command } from "commander";
import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { formatRate, parseRate } from "#core/units.ts";
import { awaitCommand } from "../await-command.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";
import { fewerCollections, steadyMemory } from "../steady-memory.ts";
import { untilStopped } from "../until-stopped.ts";

const askedSchema = z.object({ commandId: z.string() });

export function registerGateway(program: Command): void {
  const gateway = program
    .command("gateway")
    .description(
      "Run a gateway, which exports disks over NBD and replicates their writes or exports recovered ones, or throttle one.",
    );

  gateway
    .command("throttle")
    .argument("<gateway>", "its name")
    .option("--rate <rate>", "ship no faster than this, such as 20MB/s; of all VPGs that it captures together")
    .option("--off", "end the limit; what its configuration's schedule says stands")
    .description("Limit what a source gateway ships, at once and until it is ended.")
    .addHelpText(
      "after",
      "\nGuests are never slowed by it: what waits longer than the gateway's buffer holds is synced later, and the RPO grows.\n" +
        "\nExamples:\n  farshore gateway throttle paris-gw --rate 20MB/s\n  farshore gateway throttle paris-gw --off\n",
    )
    .action(async (name: string, flags: { readonly rate?: string; readonly off?: true }, command: Command) => {
      const { output, client } = contextOf(command);
      if ((flags.rate === undefined) === (flags.off === undefined)) throw new InvalidInput("say --rate RATE or --off");
      const bytesPerSecond = flags.rate === undefined ? null : parseRate(flags.rate);
      const site = client();
      const path = `/v1/gateways/${encodeURIComponent(name)}/throttle`;
      const { commandId } = await site.post(path, askedSchema, { bytesPerSecond });
      await awaitCommand(site, commandId, "take the rate");
      result(output, { gateway: name, bytesPerSecond }, () =>
        output.line(bytesPerSecond === null ? `${name}: no limit` : `${name}: at most ${formatRate(bytesPerSecond)}`),
      );
    });

  gateway
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
