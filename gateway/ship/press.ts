import { encodeBatch } from "#core/journal/encode.ts";
import type { FrameLevel } from "#core/journal/frame.ts";
import { PackingRoom, packExtents } from "#core/journal/pack.ts";
import { fastLevelQueueBytes, rawLevelQueueBytes } from "../limits.ts";
import { extentsOf, type SealedSegment } from "../tap/segment.ts";

/** What every batch of a session has in common. */
export interface SessionPlace {
  readonly vpgId: string;
  readonly term: number;
  readonly session: number;
  readonly configRevision: number;
}

/** How hard to compress while so many raw bytes wait: the less the more of them. */
export function levelFor(queuedBytes: number): FrameLevel {
  if (queuedBytes > rawLevelQueueBytes) return "raw";
  return queuedBytes > fastLevelQueueBytes ? "zstd-5" : "zstd1";
}

/** One a thread; a batch copies out of it. */
const room = new PackingRoom();

/** The batch object of a segment. Blocks its thread for some 15 ms at 4 MiB; the segment's buffers are free afterwards. `memory` as for `encodeBatch`. */
export function pressSegment(
  place: SessionPlace,
  segment: SealedSegment,
  previousHash: Uint8Array,
  level: FrameLevel,
  memory?: (length: number) => Uint8Array,
): Uint8Array {
  const payload = new Uint8Array(segment.buffers.payload, 0, segment.payloadBytes);
  const { extents, frames } = packExtents(extentsOf(segment), payload, level, room);
  const input = {
    vpgId: place.vpgId,
    term: place.term,
    session: place.session,
    batch: segment.batch,
    previousHash,
    configRevision: place.configRevision,
    firstSequence: segment.firstSequence,
    lastSequence: segment.lastSequence,
    sourceTimeFirst: segment.sourceTimeFirst,
    sourceTimeLast: segment.sourceTimeLast,
    extents,
    events: segment.events,
    frames,
  };
  return encodeBatch(input, memory);
}
