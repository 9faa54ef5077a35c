import { chunkBytes } from "#core/blocks/geometry.ts";
import { CommandFailed } from "#core/errors.ts";
import type { Log } from "#core/ports.ts";
import type { NamedVolume } from "#core/protection/command.ts";
import { ChunkBitmap } from "#core/sync/chunk-bitmap.ts";
import { DiskError } from "../disk/block-device.ts";
import type { RangeWatch } from "../disk/tapped-device.ts";
import type { SyncSource } from "../sync/volume-sync.ts";

/** A disk, of the volume's size, that nobody writes to as long as the seeding takes. */
export interface SeedDisk {
  readonly volume: NamedVolume;
  readonly source: Pick<SyncSource, "sizeBytes" | "read">;
}

const unwatched: RangeWatch = { overlapped: () => false, end: () => undefined };

/**
 * A seed's disk as the sync reads it. Whoever writes to it meanwhile only makes the seed worse; so does a chunk that can't be read, which
 * counts as zeros, since nothing but bytes depends on it. Of any other trouble, as of a disk that was closed, `fail` is told: the sync
 * by itself would try it for ever.
 */
export class SeedSource implements SyncSource {
  readonly #disk: SeedDisk;
  readonly #fail: (error: CommandFailed) => void;
  readonly #log: Log;
  readonly #unreadable: ChunkBitmap;

  constructor(disk: SeedDisk, fail: (error: CommandFailed) => void, log: Log) {
    this.#disk = disk;
    this.#fail = fail;
    this.#log = log;
    this.#unreadable = new ChunkBitmap(disk.source.sizeBytes);
  }

  /** Whole chunks. */
  get unreadableBytes(): number {
    return this.#unreadable.count * chunkBytes;
  }

  get sizeBytes(): number {
    return this.#disk.source.sizeBytes;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    const { vmName, name } = this.#disk.volume;
    try {
      await this.#disk.source.read(offset, target);
    } catch (error) {
      if (error instanceof DiskError && error.errno === "EIO") {
        if (this.#unreadable.count === 0) this.#log.warn("seeds.unreadable", { vmName, name, offset, error });
        this.#unreadable.addBytes(offset, target.length);
        target.fill(0);
        return;
      }
      const why = error instanceof Error ? error.message : String(error);
      const cure = "see that its gateway may read it, and restart that gateway";
      this.#fail(
        new CommandFailed(
          `the seed ${vmName}/${name} can't be read: ${why}; ${cure}`,
          { vmName, name },
          { cause: error },
        ),
      );
      throw error;
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
}
