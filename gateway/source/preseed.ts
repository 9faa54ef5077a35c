import { realpath } from "node:fs/promises";
import path from "node:path";
import { CommandFailed, Fenced, InvalidInput, ProtectionBegan } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { CommandHandlers } from "../control/handlers.ts";
import { FileDevice } from "../disk/file-device.ts";
import type { RangeWatch } from "../disk/tapped-device.ts";
import { bufferBytesDefault } from "../limits.ts";
import type { SiteLink } from "../site-link.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { SyncSource } from "../sync/volume-sync.ts";
import { Turns } from "../turns.ts";
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
  /** One preseed of a VPG at a time: a second session of the same gateway would end the first. */
  const turns = new Turns<Id>();
  return {
    "preseed-volumes": (body, context) =>
      turns.run(body.vpgId, async () => {
        const disks = await openCopies(parts.directory, body);
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
  directory: string | undefined,
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
      const device = FileDevice.open(await pathInside(directory, volume.path), {
        readOnly: true,
        sectorBytes: volume.sectorBytes,
      });
      const source = new CopiedDisk(device);
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

/** The path comes over the wire: with every link followed it must lie in the folder. Throws `InvalidInput`. */
async function pathInside(directory: string, asked: string): Promise<string> {
  const real = async (place: string): Promise<string> => {
    try {
      return await realpath(place);
    } catch (cause) {
      const why = cause instanceof Error && "code" in cause ? String(cause.code) : "unreadable";
      throw new InvalidInput(`${place} can't be opened (${why})`, { field: "path" }, { cause });
    }
  };
  const folder = await real(directory);
  const refused = (): InvalidInput =>
    new InvalidInput(`${asked} is not in ${directory}, the folder that [recovery] preseed names`, { field: "path" });
  // Before anything is asked of the file system, so that the answer tells nothing of what lies elsewhere.
  if (asked.includes("\0") || !within(path.resolve(directory), path.resolve(directory, asked))) throw refused();
  const found = await real(path.resolve(directory, asked));
  if (!within(folder, found)) throw refused();
  return found;
}

function within(folder: string, file: string): boolean {
  const relative = path.relative(folder, file);
  return relative !== "" && relative !== ".." && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative);
}

const unwatched: RangeWatch = { overlapped: () => false, end: () => undefined };

/** A copy of a disk as the sync reads it. Whoever writes to it meanwhile only makes the seed worse. */
class CopiedDisk implements SyncSource {
  readonly #device: FileDevice;

  constructor(device: FileDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    return this.#device.read(offset, target);
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
    await this.#device.read(offset, bytes);
    return await use(bytes);
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}
