import { chunkBytes } from "#core/blocks/geometry.ts";
import { CommandFailed, Fenced, InvalidInput, ProtectionBegan } from "#core/errors.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { ChunkBitmap } from "#core/sync/chunk-bitmap.ts";
import type { CommandHandlers } from "../control/handlers.ts";
import { DiskError } from "../disk/block-device.ts";
import type { FileDevice } from "../disk/file-device.ts";
import type { RangeWatch } from "../disk/tapped-device.ts";
import { bufferBytesDefault } from "../limits.ts";
import type { SiteLink } from "../site-link.ts";
import { Slots } from "../slots.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { SyncSource } from "../sync/volume-sync.ts";
import { openCopy } from "./open-copy.ts";
import { type SeedDisk, Seeding } from "./seeding.ts";
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
          const figures = await seeding.run(context);
          const unreadableBytes = disks.reduce((sum, { source }) => sum + source.unreadableBytes, 0);
          return { ...figures, unreadableBytes };
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
  { directory, log }: Pick<PreseedParts, "directory" | "log">,
  { volumes }: PreseedBody,
): Promise<readonly (SeedDisk & { readonly source: CopiedDisk })[]> {
  if (directory === undefined) {
    throw new CommandFailed(
      'this gateway preseeds nothing: set preseed = "FOLDER" in [recovery] to where copies of disks lie, and restart it',
    );
  }
  const disks: { readonly volume: PreseedBody["volumes"][number]; readonly source: CopiedDisk }[] = [];
  try {
    for (const volume of volumes) {
      const device = await openCopy(directory, volume.path, volume.sectorBytes);
      const source = new CopiedDisk(device, log);
      disks.push({ volume, source });
      if (device.sizeBytes === volume.sizeBytes) continue;
      throw new InvalidInput(
        `${volume.path} has ${device.sizeBytes} bytes and ${volume.vmName}/${volume.name} has ${volume.sizeBytes}: ` +
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

const unwatched: RangeWatch = { overlapped: () => false, end: () => undefined };

/**
 * A copy of a disk as the sync reads it. Whoever writes to it meanwhile only makes the seed worse; so does a chunk that can't be read,
 * which counts as zeros, since nothing but bytes depends on it.
 */
class CopiedDisk implements SyncSource {
  readonly #device: FileDevice;
  readonly #log: Log;
  readonly #unreadable: ChunkBitmap;

  constructor(device: FileDevice, log: Log) {
    this.#device = device;
    this.#log = log;
    this.#unreadable = new ChunkBitmap(device.sizeBytes);
  }

  /** Whole chunks. */
  get unreadableBytes(): number {
    return this.#unreadable.count * chunkBytes;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    try {
      await this.#device.read(offset, target);
    } catch (error) {
      if (!(error instanceof DiskError) || error.errno !== "EIO") throw error;
      if (this.#unreadable.count === 0)
        this.#log.warn("preseed.unreadable", { path: this.#device.path, offset, error });
      this.#unreadable.addBytes(offset, target.length);
      target.fill(0);
    }
  }

  watch(): RangeWatch {
    return unwatched;
  }

  async lockedRead<Result>(
    offset: number,
    length: number,
    use: (bytes: Uint8Array) => Result | Promise<Result>,
  ): Promise<Result> {
    const bytes = new Uint8Array(length);
    await this.read(offset, bytes);
    return await use(bytes);
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
