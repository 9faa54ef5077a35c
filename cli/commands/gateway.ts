import type { Command } from "commander";
import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { throttledSchema } from "#core/protection/command.ts";
import { formatRate, parseRate } from "#core/units.ts";
import { awaitCommand } from "../await-command.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";
import { fewerCollections, steadyMemory } from "../steady-memory.ts";
import { untilStopped } from "../until-stopped.ts";
import { registerGatewayDisks } from "./gateway-disks.ts";

async function openVolumes(vpg: string, { config }: { readonly config: string }, command: Command): Promise<void> {
  const context = contextOf(command);
  const [{ loadGatewayConfig }, { StateDirectory }, { closedDisks, openDisks }] = await Promise.all([
    import("../../gateway/config.ts"),
    import("../../gateway/state/state-directory.ts"),
    import("../../gateway/source/closed-disks.ts"),
  ]);
  // Nothing is said to a site, so any token does.
  const state = await StateDirectory.open(loadGatewayConfig(config, "none").stateDirectory);
  try {
    const { closed } = await closedDisks(state, vpg);
    const by = closed === null ? "a forced shutdown" : `operation ${closed.operationId}`;
    const consequences = [
      `The disks of ${vpg} were closed by ${by}; its VMs may have been brought up elsewhere since.`,
      "If they run there, two copies of them will write. Stop those first, and see that no operation of this VPG is open.",
    ];
    await confirmByName(context, consequences, vpg);
    await openDisks(state, vpg);
    const opened = { vpg, operation: closed?.operationId ?? null };
    result(context.output, opened, () =>
      context.output.line(`${vpg}: start the gateway, and power the VMs on when it serves their disks`),
    );
  } finally {
    await state.close();
  }
}

interface Limit {
  /** What was ordered; null for none. */
  readonly bytesPerSecond: number | null;
  /** What holds now, by the order and the schedule. */
  readonly nowBytesPerSecond: number | null;
}

/** What limits a gateway from now on, and that its schedule does where it does. */
export function limitText({ bytesPerSecond, nowBytesPerSecond: now }: Limit): string {
  const ordered = bytesPerSecond === null ? "no limit" : `at most ${formatRate(bytesPerSecond)}`;
  if (now === null || now === bytesPerSecond) return ordered;
  return `${ordered}; but its configuration's schedule says at most ${formatRate(now)} now`;
}

const askedSchema = z.object({ commandId: z.string() });

export function registerGateway(program: Command): void {
  const gateway = program
    .command("gateway")
    .description(
      "Run a gateway, which exports disks over NBD and replicates their writes or exports recovered ones, throttle one, or look after its disks.",
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
      const { nowBytesPerSecond: now } = throttledSchema.parse(await awaitCommand(site, commandId, "take the rate"));
      const told = { gateway: name, bytesPerSecond, nowBytesPerSecond: now ?? bytesPerSecond };
      result(output, told, () => output.line(`${name}: ${limitText(told)}`));
    });

  gateway
    .command("open-volumes")
    .argument("<vpg>", "the VPG's name in the gateway's configuration")
    .requiredOption("--config <file>", "the gateway's configuration; the gateway must be stopped")
    .description(
      "Let a VPG's disks take writes again that a move, a reverse protection or a forced shutdown closed for good.",
    )
    .addHelpText(
      "after",
      "\nFor disks that were closed as those of another VPG, deleted or not, or whose site is lost for good. No site is asked: you are the one who knows that nothing else runs the VMs.\n\nExample:\n  farshore gateway open-volumes shop --config source-gateway.toml\n",
    )
    .action(openVolumes);

  registerGatewayDisks(gateway);

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
