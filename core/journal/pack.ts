import type { CompressedFrame, ExtentColumns } from "./batch.ts";
import { cutExtentColumns, extentKinds, newExtentColumns } from "./batch.ts";
import { coalesce } from "./coalesce.ts";
import { compressedFrameRoom, compressFrame, type FrameLevel } from "./frame.ts";
import { frameBytesMax, payloadBytesMax } from "./limits.ts";

/** Extents as they were tapped, their bytes one after the other in one buffer. */
export interface TappedExtents extends Omit<ExtentColumns, "frame" | "frameOffset"> {
  /** Where a write's bytes start in the payload; unused for a zero. Writes rise with no gap between them. */
  readonly payloadOffset: Uint32Array;
}

export interface PackedExtents {
  readonly extents: ExtentColumns;
  readonly frames: readonly CompressedFrame[];
}

/** What a thread that packs batch after batch keeps: made for each, it is 8 MiB of garbage a batch. */
export class PackingRoom {
  /** The writes of one frame, where coalescing left holes between them. */
  readonly gathered = Buffer.allocUnsafeSlow(frameBytesMax);
  /** Stored frames one after the other, none longer than raw, and what the last may need while it is made. */
  readonly stored = Buffer.allocUnsafeSlow(payloadBytesMax + compressedFrameRoom);
}

/**
 * Coalesces the extents of one batch and packs what is left into compressed frames, ready for `encodeBatch`.
 * Each write lies in one frame; frames fill in order. The frames' bytes lie in `room`, valid until it is used again, or, where nothing
 * had to be left out of a frame that is stored raw, in `payload`.
 */
export function packExtents(
  tapped: TappedExtents,
  payload: Uint8Array,
  level: FrameLevel,
  room = new PackingRoom(),
): PackedExtents {
  const keep = coalesce(tapped);
  const extents = newExtentColumns(tapped.count);
  const packer = new FramePacker(payload, level, room);
  let count = 0;
  for (let index = 0; index < tapped.count; index += 1) {
    if (keep[index] === 0) continue;
    const kind = tapped.kind[index] ?? 0;
    const length = tapped.length[index] ?? 0;
    extents.kind[count] = kind;
    extents.volume[count] = tapped.volume[index] ?? 0;
    extents.sequenceDelta[count] = tapped.sequenceDelta[index] ?? 0;
    extents.offset[count] = tapped.offset[index] ?? 0;
    extents.length[count] = length;
    if (kind === extentKinds.write) {
      extents.frameOffset[count] = packer.add(tapped.payloadOffset[index] ?? 0, length);
      extents.frame[count] = packer.frames.length;
    }
    count += 1;
  }
  packer.flush();
  return { extents: cutExtentColumns(extents, count), frames: packer.frames };
}

/** Gathers writes into frames; copies only where a dropped write left a hole in the payload. */
class FramePacker {
  readonly frames: CompressedFrame[] = [];
  readonly #payload: Uint8Array;
  readonly #level: FrameLevel;
  readonly #room: PackingRoom;
  /** Bytes of `#room.stored` that frames have. */
  #stored = 0;
  /** Runs of the open frame: start and end in the payload, by turns. */
  #runs: number[] = [];
  #filled = 0;

  constructor(payload: Uint8Array, level: FrameLevel, room: PackingRoom) {
    this.#payload = payload;
    this.#level = level;
    this.#room = room;
  }

  /** Returns the write's place in its frame, whose number is `frames.length` after the call. */
  add(start: number, length: number): number {
    if (start + length > this.#payload.length) throw new RangeError("a write's bytes lie outside the payload");
    if (this.#filled + length > frameBytesMax) this.flush();
    const place = this.#filled;
    const last = this.#runs.length - 1;
    if (last > 0 && this.#runs[last] === start) this.#runs[last] = start + length;
    else this.#runs.push(start, start + length);
    this.#filled += length;
    return place;
  }

  flush(): void {
    if (this.#filled === 0) return;
    const raw = this.#gather();
    const room = this.#room.stored.subarray(this.#stored);
    const frame = compressFrame(raw, this.#level, room);
    const gathered = frame.bytes.buffer === this.#room.gathered.buffer;
    // The next frame is gathered in the same place.
    if (gathered) room.set(frame.bytes);
    this.frames.push(gathered ? { ...frame, bytes: room.subarray(0, frame.bytes.length) } : frame);
    if (gathered || frame.codec === "zstd") this.#stored += frame.bytes.length;
    this.#runs = [];
    this.#filled = 0;
  }

  #gather(): Uint8Array {
    if (this.#runs.length === 2) return this.#payload.subarray(this.#runs[0], this.#runs[1]);
    const raw = this.#room.gathered.subarray(0, this.#filled);
    let place = 0;
    for (let run = 0; run < this.#runs.length; run += 2) {
      const bytes = this.#payload.subarray(this.#runs[run], this.#runs[run + 1]);
      raw.set(bytes, place);
      place += bytes.length;
    }
    return raw;
  }
}
