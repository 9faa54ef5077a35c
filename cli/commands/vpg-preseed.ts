import type { Command } from "commander";
import { ulid } from "ulid";
import { z } from "zod";
import type { PreseedAsk } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { syncedBytesSchema } from "#core/protection/operation.ts";
import { formatBytes } from "#core/units.ts";
import { awaitCommand } from "../await-command.ts";
import { contextOf } from "../context.ts";
import { progressLine, result } from "../output.ts";

const askedSchema = z.object({ commandId: z.string() });
const cancelledSchema = z.object({ commandIds: z.array(z.string()) });
const resultSchema = syncedBytesSchema.extend({ unreadableBytes: z.number().default(0) }).loose();

const waitsText =
  "waits for the recovery gateway: is it connected (farshore status), or at work on another preseed? --cancel ends it";

interface PreseedFlags {
  readonly wait: boolean;
  readonly cancel?: true;
}

export function registerVpgPreseed(vpg: Command): void {
  vpg
    .command("preseed")
    .argument("<vpg>", "name or id")
    .argument("[copies...]", "VM/VOLUME=PATH each: a copy of that disk at the recovery gateway's machine, byte by byte")
    .option("--no-wait", "return at once; the recovery gateway goes on by itself")
    .option("--cancel", "end the VPG's preseeds that wait or are at work; what they brought stays and is used")
    .description("Bring copies of a VPG's disks into the journal before its protection begins.")
    .addHelpText(
      "after",
      "\nPaths lie in the folder that preseed in [recovery] of the recovery gateway's configuration names. Start the source" +
        "\ngateway afterwards: its first sync compares its disks with the journal and sends only what differs, however old or" +
        "\nwrong the copies are. Once it has begun, preseeds are refused. A gateway works on one preseed after the other.\n" +
        "\nExamples:\n  farshore vpg preseed shop db/data=shop/data.img db/log=shop/log.img\n  farshore vpg preseed shop --cancel\n",
    )
    .action(async (name: string, copies: readonly string[], flags: PreseedFlags, command: Command) => {
      const { output, client } = contextOf(command);
      if ((flags.cancel === true) === copies.length > 0)
        throw new InvalidInput("name copies, or say --cancel alone, which ends all preseeds of the VPG");
      const site = client();
      const path = `/v1/vpgs/${encodeURIComponent(name)}/preseed`;
      if (flags.cancel === true) {
        const cancelled = await site.delete(path, cancelledSchema);
        result(output, cancelled, () => output.line(`${name}: preseeds cancelled: ${cancelled.commandIds.length}`));
        return;
      }
      const ask = { requestId: ulid().toLowerCase(), volumes: copies.map(copyOf) };
      const asked = await site.post(path, askedSchema, ask);
      if (!flags.wait) {
        result(output, asked, () => output.line(`${name}: command ${asked.commandId}`));
        return;
      }
      const progress = progressLine(output);
      let waits = false;
      const done = await awaitCommand(site, asked.commandId, "preseed", (at) => {
        if (at !== null) progress.update(`${at.done} of ${at.total} ${at.unit} compared`);
        else if (!waits) progress.update(waitsText);
        waits = at === null;
      }).finally(() => progress.end());
      const figures = resultSchema.parse(done);
      const { hashedBytes, shippedBytes, unreadableBytes } = figures;
      const lost =
        unreadableBytes === 0 ? "" : ` ${formatBytes(unreadableBytes)} could not be read, and its source sends that.`;
      result(output, figures, () =>
        output.line(
          `${name}: ${formatBytes(hashedBytes - unreadableBytes)} read, ${formatBytes(shippedBytes)} new in the journal.` +
            `${lost} Start its source gateway now.`,
        ),
      );
    });
}

/** Reads `VM/VOLUME=PATH`. Throws `InvalidInput`. */
function copyOf(text: string): PreseedAsk["volumes"][number] {
  const [, vmName, name, path] = /^([^/=]+)\/([^/=]+)=(.+)$/.exec(text) ?? [];
  if (vmName !== undefined && name !== undefined && path !== undefined) return { vmName, name, path };
  throw new InvalidInput(`"${text}" is not VM/VOLUME=PATH, such as db/data=shop/data.img`);
}
