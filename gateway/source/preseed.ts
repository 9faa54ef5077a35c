import { CommandFailed, Fenced, InvalidInput, ProtectionBegan } from "#core/errors.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { CommandHandlers } from "../control/handlers.ts";
import type { FileDevice } from "../disk/file-device.ts";
import { bufferBytesDefault } from "../limits.ts";
import type { SiteLink } from "../site-link.ts";
import { Slots } from "../slots.ts";
import type { StateStore } from "../state/state-directory.ts";
import { openCopy } from "./open-copy.ts";
import type { SeedDisk } from "./seed-source.ts";
import { Seeding } from "./seeding.ts";
import { thisMachine } from "./source-host.ts";

type PreseedBody = Extract<CommandBody, { kind: "preseed-volumes" }>;

export interface PreseedParts {
  /** Absolute: files outside of it are never opened. Undefined where the configuration names none. */
  readonly directory: string | undefined;
  readonly link: Pick<SiteLink, "address" | "client">;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What a site may ask of a recovery gateway before a VPG's protection begins. */
export function preseedHandlers(parts: PreseedParts): Pick<CommandHandlers, "preseed-volumes"> {
  /**
   * One preseed at a time: each has a buffer of its own, and of one VPG a second session of the same gateway would end the first. Those
   * that wait are at work for their site, so that they don't expire.
   */
  const slots = new Slots(1);
  return {
    "preseed-volumes": (body, context) =>
      slots.run(context.signal, async () => {
        const disks = await openCopies(parts, body);
        const { link, state, clock, random, log } = parts;
        const capture = { bufferBytes: bufferBytesDefault, syncBytesPerSecond: undefined };
        const site = { address: link.address, site: link.client };
        try {
          const seeding = new Seeding({ ...site, disks, capture, state, clock, random, log, host: thisMachine }, body);
          return await seeding.run(context);
        } catch (error) {
          if (!(error instanceof Fenced)) throw error;
          throw new ProtectionBegan(
            `protection of ${body.vpgName} began while it was preseeded; what had come by then is used: ${error.message}`,
            {},
            { cause: error },
          );
        } finally {
          for (const { source } of disks) await source.close();
        }
      }),
  };
}

/** All copies, or none. Throws `CommandFailed` without a folder for them, `InvalidInput` naming the file that doesn't fit. */
async function openCopies(
  { directory }: Pick<PreseedParts, "directory">,
  { volumes }: PreseedBody,
): Promise<readonly (SeedDisk & { readonly source: FileDevice })[]> {
  if (directory === undefined) {
    throw new CommandFailed(
      'this gateway preseeds nothing: set preseed = "FOLDER" in [recovery] to where copies of disks lie, and restart it',
    );
  }
  const disks: { readonly volume: PreseedBody["volumes"][number]; readonly source: FileDevice }[] = [];
  try {
    for (const volume of volumes) {
      const source = await openCopy(directory, volume.path, volume.sectorBytes);
      disks.push({ volume, source });
      if (source.sizeBytes === volume.sizeBytes) continue;
      throw new InvalidInput(
        `${volume.path} has ${source.sizeBytes} bytes and ${volume.vmName}/${volume.name} has ${volume.sizeBytes}: ` +
          "a copy is the disk itself, byte by byte, not an image format (qemu-img convert -O raw makes it one)",
        { field: "path" },
      );
    }
  } catch (error) {
    for (const { source } of disks) await source.close();
    throw error;
  }
  return disks.map(({ volume: { path: _, ...volume }, source }) => ({ volume, source }));
}
