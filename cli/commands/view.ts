import { resolve } from "node:path";
import type { Command } from "commander";
import { createLog } from "#adapters/embedded/log.ts";
import { formatBytes } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { progressLine, result } from "../output.ts";
import { untilStopped } from "../until-stopped.ts";
import { chooseView, type ViewFlags } from "../view-source.ts";

function viewCommand(view: Command, name: string, description: string): Command {
  return view
    .command(name)
    .argument("<vpg>", "name or id")
    .requiredOption("--checkpoint <which>", "latest, an id, a time with zone, or tag:TEXT")
    .requiredOption("--volume <vm/volume>", "which disk, such as db/data")
    .option("--lost-tail <operation>", "the checkpoint is one that the commit of this operation left behind")
    .option("--offline <dir>", "read a site's data directory instead of asking the site")
    .description(description);
}

export function registerView(program: Command): void {
  const view = program.command("view").description("Read a disk as of any checkpoint.");

  viewCommand(view, "export", "Export a disk as of a checkpoint over NBD, read-only, until stopped.")
    .requiredOption("--socket <path>", "Unix socket to listen on")
    .addHelpText(
      "after",
      "\nExample:\n  farshore view export shop --checkpoint latest --volume db/data --socket /tmp/data.sock &\n  nbdcopy 'nbd+unix:///shop/db/data?socket=/tmp/data.sock' data.img\n",
    )
    .action(async (vpg: string, flags: ViewFlags & { readonly socket: string }, command: Command) => {
      const context = contextOf(command);
      const { exportView } = await import("../../gateway/export/view-export.ts");
      const chosen = await chooseView(context, vpg, flags);
      try {
        const exported = await exportView({ ...chosen, socketPath: resolve(flags.socket), log: createLog() });
        result(context.output, { checkpoint: chosen.checkpointId, uri: exported.uri }, () =>
          context.output.line(exported.uri),
        );
        context.output.note(`${chosen.checkpointId}, read-only; stop with SIGTERM`);
        await untilStopped(exported, chosen.lost);
      } finally {
        await chosen.release();
      }
    });

  viewCommand(view, "write", "Write a disk as of a checkpoint into a new sparse file.")
    .requiredOption("--output <file>", "must not exist")
    .addHelpText(
      "after",
      "\nExample:\n  farshore view write shop --checkpoint tag:before-upgrade --volume db/data --output data.img\n",
    )
    .action(async (vpg: string, flags: ViewFlags & { readonly output: string }, command: Command) => {
      const context = contextOf(command);
      const { writeView } = await import("../../gateway/export/view-write.ts");
      const chosen = await chooseView(context, vpg, flags);
      const progress = progressLine(context.output);
      const stop = new AbortController();
      process.once("SIGINT", () => stop.abort(new Error("interrupted; nothing was written")));
      const written = await writeView({
        ...chosen,
        output: flags.output,
        signal: AbortSignal.any([stop.signal, chosen.lost]),
        onProgress: (done, total) =>
          progress.update(
            `${flags.volume}: ${formatBytes(done)} of ${formatBytes(total)}, ${Math.floor((100 * done) / total)} %`,
          ),
      }).finally(chosen.release);
      progress.end();
      const facts = { checkpoint: chosen.checkpointId, output: flags.output, sizeBytes: chosen.sizeBytes, ...written };
      result(context.output, facts, () =>
        context.output.line(
          `${flags.output}: ${formatBytes(chosen.sizeBytes)} as of ${chosen.checkpointId}, ${formatBytes(written.dataBytes)} of it data`,
        ),
      );
    });
}
