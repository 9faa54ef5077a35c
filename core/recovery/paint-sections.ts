import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { extentKinds } from "#core/journal/batch.ts";
import type { LayerSection, LayerSource } from "#core/journal/layer.ts";
import type { Position } from "#core/journal/position.ts";
import type { ChunkPainter } from "./chunk-painter.ts";

/** An extent of one of several sections, with what decides who is newer. */
interface Candidate {
  readonly section: LayerSection;
  readonly index: number;
  readonly session: number;
  readonly sequence: number;
}

/**
 * Hands the painter what sections have of a chunk at or before the position, newest first. Sections and layers stand in no
 * order: the position of each extent alone decides. `numberOf` gives a batch its number in the reader.
 */
export function paintSections(
  sections: readonly LayerSection[],
  chunk: number,
  upTo: Position,
  painter: ChunkPainter,
  numberOf: (source: LayerSource) => number,
): void {
  const chunkStart = chunk * sectorsPerChunk;
  const candidates: Candidate[] = [];
  for (const section of sections) gather(section, chunkStart, upTo, candidates);
  candidates.sort((left, right) => right.session - left.session || right.sequence - left.sequence);
  for (const { section, index } of candidates) {
    if (painter.done) return;
    const { sector, sectors, source, kind, frame, frameOffset } = section.extents;
    const first = (sector[index] ?? 0) - chunkStart;
    const batch = section.sources[source[index] ?? 0];
    if (kind[index] === extentKinds.zero) painter.zero(first, sectors[index] ?? 0);
    else if (batch !== undefined) {
      painter.write(first, sectors[index] ?? 0, numberOf(batch), frame[index] ?? 0, frameOffset[index] ?? 0);
    }
  }
}

function gather(section: LayerSection, chunkStart: number, upTo: Position, candidates: Candidate[]): void {
  const { count, sector, sectors, source, sequenceDelta } = section.extents;
  const chunkEnd = chunkStart + sectorsPerChunk;
  for (let index = 0; index < count; index += 1) {
    const start = sector[index] ?? 0;
    if (start >= chunkEnd || start + (sectors[index] ?? 0) <= chunkStart) continue;
    const { session, firstSequence } = section.sources[source[index] ?? 0] ?? { session: 0, firstSequence: 0 };
    const sequence = firstSequence + (sequenceDelta[index] ?? 0);
    if (session > upTo.session || (session === upTo.session && sequence > upTo.sequence)) continue;
    candidates.push({ section, index, session, sequence });
  }
}
