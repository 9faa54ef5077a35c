import type { BatchHeader, BatchPlace, ExtentColumns } from "./batch.ts";
import { decodeObject } from "./decode.ts";
import { decodedFrameRoom, decodeFrame } from "./frame.ts";
import { malformed } from "./malformed.ts";

export interface VolumeBounds {
  readonly sizeBytes: number;
  /** 512 or 4096. */
  readonly sectorBytes: number;
}

/** Where a batch claims to belong and what its records may touch. */
export interface BatchBounds extends BatchPlace {
  /** Sizes before the batch; a resize inside it counts for what follows. A volume that is absent may not be written. */
  readonly volumes: ReadonlyMap<number, VolumeBounds>;
}

/**
 * The whole check before a received batch is stored: SHA-256, place, every record within its volume and whole sectors,
 * every frame decodes to exactly its raw length. Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`.
 * The chain of hashes and sequences between batches is the reader's to check: they may arrive out of order.
 */
export function verifyBatch(bytes: Uint8Array, bounds: BatchBounds): BatchHeader {
  const object = decodeObject(bytes);
  if (object.kind !== "batch") throw malformed("kind", "is that of a seal");
  const { header } = object;
  for (const field of ["vpgId", "term", "session", "batch"] as const) {
    if (header[field] !== bounds[field]) throw malformed(field, `is ${header[field]}, not ${bounds[field]}`);
  }
  checkBounds(header, bounds.volumes);
  for (const [index, frame] of header.frames.entries()) {
    decodeFrame(header, index, bytes.subarray(frame.start, frame.start + frame.storedLength), "received", decoded);
  }
  return header;
}

/** Frames are decoded here one after the other only to see that they can be. */
const decoded = new Uint8Array(decodedFrameRoom);

function checkBounds(header: BatchHeader, before: ReadonlyMap<number, VolumeBounds>): void {
  const volumes = new Map(before);
  let index = 0;
  for (const event of header.events) {
    if (!("volume" in event)) continue;
    index = checkExtentsBelow(header.extents, index, event.sequence - header.firstSequence, volumes);
    const bounds = volumes.get(event.volume);
    if (bounds === undefined) throw malformed("records.volume", `${event.volume} is not of this session`);
    if (event.kind === "resize") {
      if (event.sizeBytes % bounds.sectorBytes !== 0) throw malformed("records.sizeBytes", "is not whole sectors");
      volumes.set(event.volume, { ...bounds, sizeBytes: event.sizeBytes });
    }
  }
  checkExtentsBelow(header.extents, index, Number.POSITIVE_INFINITY, volumes);
}

/** Checks extents from `index` on whose sequence is below; returns the first that is not. */
function checkExtentsBelow(
  extents: ExtentColumns,
  index: number,
  deltaEnd: number,
  volumes: ReadonlyMap<number, VolumeBounds>,
): number {
  const { count, volume, sequenceDelta, offset, length } = extents;
  let last = -1;
  let bounds: VolumeBounds | undefined;
  let next = index;
  for (; next < count && (sequenceDelta[next] ?? 0) < deltaEnd; next += 1) {
    const number = volume[next] ?? 0;
    if (number !== last) {
      bounds = volumes.get(number);
      last = number;
    }
    if (bounds === undefined) throw malformed("records.volume", `${number} is not of this session`, next);
    const start = offset[next] ?? 0;
    const bytes = length[next] ?? 0;
    if (start % bounds.sectorBytes !== 0) throw malformed("records.offset", "is not whole sectors", next);
    if (bytes % bounds.sectorBytes !== 0) throw malformed("records.length", "is not whole sectors", next);
    if (start + bytes > bounds.sizeBytes) throw malformed("records.offset", "reaches beyond the volume", next);
  }
  return next;
}
