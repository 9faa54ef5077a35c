import { sectorsPerChunk } from "#core/blocks/geometry.ts";

/** What shows of a chunk, in order of sector; where nothing does, it reads as zeros. */
export interface ChunkRuns {
  readonly count: number;
  /** First sector of 512 bytes in the chunk. */
  readonly sector: Uint16Array;
  readonly sectors: Uint16Array;
  /** The batch as its `JournalReader` numbers it. */
  readonly batch: Uint32Array;
  readonly frame: Uint8Array;
  /** Where the run's first byte stands in the frame's raw bytes. */
  readonly frameOffset: Uint32Array;
}

/** The chunk reads as zeros. */
const noRuns: ChunkRuns = {
  count: 0,
  sector: new Uint16Array(0),
  sectors: new Uint16Array(0),
  batch: new Uint32Array(0),
  frame: new Uint8Array(0),
  frameOffset: new Uint32Array(0),
};

/** Memory held, for a cache's bound. */
export const weightOfRuns = ({ count }: ChunkRuns): number => 256 + count * 13;

const open = -2;
const zero = -1;

/**
 * Puts one chunk's image together from the newest record to the oldest: a sector belongs to the first that covers it. Done
 * when no sector is open, so deep history costs what shows of it.
 */
export class ChunkPainter {
  readonly #map = new Int32Array(sectorsPerChunk).fill(open);
  #left = sectorsPerChunk;
  readonly #batch: number[] = [];
  readonly #frame: number[] = [];
  /** Where sector 0 of the chunk would stand in the frame; negative for a record that begins later. */
  readonly #frameStart: number[] = [];

  get done(): boolean {
    return this.#left === 0;
  }

  /** A write of `sectors` from `first` on, counted from the chunk's first sector; it may reach beyond the chunk at both ends. */
  write(first: number, sectors: number, batch: number, frame: number, frameOffset: number): void {
    const stroke = this.#batch.length;
    if (!this.#cover(first, sectors, stroke)) return;
    this.#batch.push(batch);
    this.#frame.push(frame);
    this.#frameStart.push(frameOffset - first * 512);
  }

  zero(first: number, sectors: number): void {
    this.#cover(first, sectors, zero);
  }

  runs(): ChunkRuns {
    if (this.#batch.length === 0) return noRuns;
    const starts: number[] = [];
    for (let sector = 0; sector < sectorsPerChunk; sector += 1) {
      const stroke = this.#map[sector] ?? zero;
      if (stroke >= 0 && (sector === 0 || this.#map[sector - 1] !== stroke)) starts.push(sector);
    }
    const strokes = starts.map((sector) => this.#map[sector] ?? 0);
    return {
      count: starts.length,
      sector: Uint16Array.from(starts),
      sectors: Uint16Array.from(starts, (sector) => this.#endOf(sector) - sector),
      batch: Uint32Array.from(strokes, (stroke) => this.#batch[stroke] ?? 0),
      frame: Uint8Array.from(strokes, (stroke) => this.#frame[stroke] ?? 0),
      frameOffset: Uint32Array.from(
        strokes,
        (stroke, run) => (this.#frameStart[stroke] ?? 0) + (starts[run] ?? 0) * 512,
      ),
    };
  }

  #endOf(sector: number): number {
    let end = sector;
    while (end < sectorsPerChunk && this.#map[end] === this.#map[sector]) end += 1;
    return end;
  }

  /** True when it got a sector. */
  #cover(first: number, sectors: number, stroke: number): boolean {
    const before = this.#left;
    const end = Math.min(sectorsPerChunk, first + sectors);
    for (let sector = Math.max(0, first); sector < end; sector += 1) {
      if (this.#map[sector] !== open) continue;
      this.#map[sector] = stroke;
      this.#left -= 1;
    }
    return this.#left < before;
  }
}
