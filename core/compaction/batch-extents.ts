import { sectorBytesMin, sectorsPerChunk } from "#core/blocks/geometry.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { type LayerExtents, newLayerExtents } from "#core/journal/layer.ts";
import type { BatchRef } from "#core/recovery/journal-source.ts";
import type { LayerWriter } from "./layer-writer.ts";
import { SectionBuilder, SourceTable } from "./section-builder.ts";

/** Volume numbers have 16 bits and chunk numbers 34 (2^53 bytes of 2^19): together they fit a double. */
const volumeStride = 2 ** 34;

export interface ReadBatch {
  readonly ref: BatchRef;
  readonly header: BatchHeader;
}

/** Writes the extents of batches and packs as one layer, sorted by place. Held in memory together: the caller bounds them. */
export async function writeBatchesAsLayer(
  batches: readonly ReadBatch[],
  writer: Pick<LayerWriter, "add" | "flush">,
): Promise<void> {
  const packed = batches.some(({ ref }) => ref.pack !== undefined);
  const count = batches.reduce((sum, { header }) => sum + header.extents.count, 0);
  const extents = newLayerExtents(count);
  const place = new Float64Array(count);
  const sources = new SourceTable();
  let at = 0;
  for (const { ref, header } of batches) {
    const source = sources.numberOf({ ...ref, headerLength: header.headerLength });
    gather(header, source, extents, place, at);
    at += header.extents.count;
  }
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  order.sort((left, right) => (place[left] ?? 0) - (place[right] ?? 0));
  const builder = new SectionBuilder(sources, packed);
  for (const index of order) {
    const volume = Math.floor((place[index] ?? 0) / volumeStride);
    const whole = builder.add(volume, extents, index, extents.source[index] ?? 0);
    if (whole !== undefined) await writer.add(whole);
  }
  const last = builder.flush();
  if (last !== undefined) await writer.add(last);
  await writer.flush();
}

function gather(header: BatchHeader, source: number, to: LayerExtents, place: Float64Array, start: number): void {
  const { count, kind, volume, sequenceDelta, offset, length, frame, frameOffset } = header.extents;
  for (let index = 0; index < count; index += 1) {
    const at = start + index;
    const sector = (offset[index] ?? 0) / sectorBytesMin;
    to.sector[at] = sector;
    to.sectors[at] = (length[index] ?? 0) / sectorBytesMin;
    to.source[at] = source;
    to.sequenceDelta[at] = sequenceDelta[index] ?? 0;
    to.kind[at] = kind[index] ?? 0;
    to.frame[at] = frame[index] ?? 0;
    to.frameOffset[at] = frameOffset[index] ?? 0;
    place[at] = (volume[index] ?? 0) * volumeStride + Math.floor(sector / sectorsPerChunk);
  }
}
