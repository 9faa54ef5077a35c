import { resolve } from "node:path";
import type { Command } from "commander";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { InvalidInput } from "#core/errors.ts";
import { parsePosition } from "#core/journal/position.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { openOfflineVpg } from "../offline.ts";
import { columns, result } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";

interface ConfigFlag {
  readonly config: string;
}

interface ExportFlags extends ConfigFlag {
  readonly volume: string;
  readonly socket: string;
  readonly number?: string;
  readonly offline?: string;
}

/** The recovery section of a gateway's configuration. */
async function recoveryOf(config: string) {
  const { loadGatewayConfig } = await import("../../gateway/config.ts");
  const token = process.env["FARSHORE_TOKEN"];
  const { recovery } = loadGatewayConfig(config, token === "" ? undefined : token);
  if (recovery === undefined) throw new InvalidInput(`${config} has no [recovery] section: it keeps no scratch`);
  return recovery;
}

async function exportScratch(operation: string, flags: ExportFlags, command: Command): Promise<void> {
  const { output } = contextOf(command);
  const recovery = await recoveryOf(flags.config);
  const { exportKept } = await import("../../gateway/export/kept-scratch.ts");
  const { HttpJournal } = await import("../../gateway/export/http-journal.ts");
  const { SiteClient } = await import("../../gateway/control/site-client.ts");
  const { journalConnections } = await import("../../gateway/export/limits.ts");
  const log = createLog();
  const site = new SiteClient(recovery.site, journalConnections);
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const exported = await exportKept({
    ...{ directory: recovery.directory, operationId: operation, volume: flags.volume, log },
    number: flags.number === undefined ? undefined : Number(flags.number),
    socketPath: resolve(flags.socket),
    journal: async (vpgId, upTo, checkpoint) => {
      if (flags.offline === undefined)
        return new HttpJournal({ routes: site, vpgId, upTo, checkpoint, clock, random, log });
      const { journal } = await openOfflineVpg(flags.offline, vpgId);
      journal.show(parsePosition(checkpoint));
      return journal;
    },
  }).catch(async (error: unknown) => {
    await site.close();
    throw error;
  });
  const { scratch, uri } = exported;
  const { operationId, checkpointId, number } = scratch;
  result(output, { operation: operationId, number, checkpoint: checkpointId, uri }, () => output.line(uri));
  output.note(`${checkpointId} and what was written over it, read-only; stop with SIGTERM`);
  await untilStopped({
    close: async () => {
      await exported.close();
      await site.close();
    },
  });
}

export function registerScratch(program: Command): void {
  const scratch = program
    .command("scratch")
    .description("Read what recovered VMs wrote before a rollback or a retarget; at the recovery gateway's machine.");

  scratch
    .command("list")
    .requiredOption("--config <file>", "the recovery gateway's configuration")
    .description("List the scratches that are kept, with what was written and until when they are there.")
    .addHelpText("after", "\nExample:\n  farshore scratch list --config recovery-gateway.toml\n")
    .action(async ({ config }: ConfigFlag, command: Command) => {
      const { output } = contextOf(command);
      const { keptScratches } = await import("../../gateway/export/kept-scratch.ts");
      const kept = await keptScratches((await recoveryOf(config)).directory);
      const left = (keptUntil: number): string => formatDuration(Math.max(0, keptUntil - Date.now()));
      result(output, kept, () =>
        columns(
          output,
          ["OPERATION", "NUMBER", "VPG", "CHECKPOINT", "VOLUME", "WRITTEN", "GOES IN"],
          kept.flatMap(({ operationId, number, vpgName, checkpointId, keptUntil, volumes }) =>
            volumes.map(({ name, writtenBytes }) => [
              ...[operationId, String(number), vpgName, checkpointId, name, formatBytes(writtenBytes)],
              left(keptUntil),
            ]),
          ),
        ),
      );
    });

  scratch
    .command("export")
    .argument("<operation>", "the operation that was rolled back or retargeted")
    .requiredOption("--config <file>", "the recovery gateway's configuration")
    .requiredOption("--volume <vm/volume>", "which disk, such as db/data")
    .requiredOption("--socket <path>", "Unix socket to listen on")
    .option("--number <n>", "which of the operation's scratches (default: the last)")
    .option("--offline <dir>", "read a site's data directory instead of asking the gateway's site")
    .description("Export a disk as its recovered VM left it over NBD, read-only, until stopped.")
    .addHelpText(
      "after",
      "\nExample:\n  farshore scratch export ID --config recovery-gateway.toml --volume db/data --socket /tmp/left.sock &\n  nbdcopy 'nbd+unix:///shop/db/data?socket=/tmp/left.sock' left.img\n",
    )
    .action(exportScratch);
}
