import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { extentKinds } from "#core/journal/batch.ts";
import type { LayerSection, LayerSource } from "#core/journal/layer.ts";
import type { Position } from "#core/journal/position.ts";
import type { ChunkPainter } from "./chunk-painter.ts";

/**
 * Hands the painter what sections have of a chunk at or before the position, newest first. Sections and layers stand in no order, and
 * may be of one time: the position of each extent alone decides. Each section is in order of position itself, so they are gone through
 * from their ends, and no further than to where nothing of the chunk is open. `numberOf` gives a batch its number in the reader.
 */
export function paintSections(
  sections: readonly LayerSection[],
  chunk: number,
  upTo: Position,
  painter: ChunkPainter,
  numberOf: (source: LayerSource) => number,
): void {
  const chunkStart = chunk * sectorsPerChunk;
  const cursors = sections
    .map((section) => new Cursor(section, chunkStart, upTo))
    .filter((cursor) => cursor.index >= 0);
  while (cursors.length > 0 && !painter.done) {
    const newest = cursors.reduce((best, cursor) => (cursor.isBehind(best) ? cursor : best));
    const { section, source, index } = newest;
    const { sector, sectors, kind, frame, frameOffset } = section.extents;
    const first = (sector[index] ?? 0) - chunkStart;
    if (kind[index] === extentKinds.zero) painter.zero(first, sectors[index] ?? 0);
    else if (source !== undefined) {
      painter.write(first, sectors[index] ?? 0, numberOf(source), frame[index] ?? 0, frameOffset[index] ?? 0);
    }
    if (!newest.next()) cursors.splice(cursors.indexOf(newest), 1);
  }
}

/** Goes from a section's newest extent at or before the position to its oldest, over those of one chunk. */
class Cursor {
  readonly section: LayerSection;
  readonly #chunkStart: number;
  /** Where it stands; -1 behind the oldest. */
  index: number;
  source: LayerSource | undefined;
  #session = 0;
  #sequence = 0;

  constructor(section: LayerSection, chunkStart: number, upTo: Position) {
    this.section = section;
    this.#chunkStart = chunkStart;
    this.index = firstBehind(section, upTo);
    this.next();
  }

  /** False when there is none. */
  next(): boolean {
    const { sector, sectors, source, sequenceDelta } = this.section.extents;
    const chunkEnd = this.#chunkStart + sectorsPerChunk;
    for (this.index -= 1; this.index >= 0; this.index -= 1) {
      const start = sector[this.index] ?? 0;
      if (start >= chunkEnd || start + (sectors[this.index] ?? 0) <= this.#chunkStart) continue;
      this.source = this.section.sources[source[this.index] ?? 0];
      this.#session = this.source?.session ?? 0;
      this.#sequence = (this.source?.firstSequence ?? 0) + (sequenceDelta[this.index] ?? 0);
      return true;
    }
    return false;
  }

  isBehind(other: Cursor): boolean {
    return this.#session > other.#session || (this.#session === other.#session && this.#sequence > other.#sequence);
  }
}

/** How many of the section's extents stand at or before the position. */
function firstBehind({ extents, sources }: LayerSection, upTo: Position): number {
  let low = 0;
  let high = extents.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const source = sources[extents.source[middle] ?? 0];
    const sequence = (source?.firstSequence ?? 0) + (extents.sequenceDelta[middle] ?? 0);
    const session = source?.session ?? 0;
    if (session > upTo.session || (session === upTo.session && sequence > upTo.sequence)) high = middle;
    else low = middle + 1;
  }
  return low;
}
