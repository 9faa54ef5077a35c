import type { CompressedFrame, ExtentColumns } from "./batch.ts";
import { cutExtentColumns, extentKinds, newExtentColumns } from "./batch.ts";
import { coalesce } from "./coalesce.ts";
import { compressFrame, type FrameLevel } from "./frame.ts";
import { frameBytesMax } from "./limits.ts";

/** Extents as they were tapped, their bytes one after the other in one buffer. */
export interface TappedExtents extends Omit<ExtentColumns, "frame" | "frameOffset"> {
  /** Where a write's bytes start in the payload; unused for a zero. Writes rise with no gap between them. */
  readonly payloadOffset: Uint32Array;
}

export interface PackedExtents {
  readonly extents: ExtentColumns;
  readonly frames: readonly CompressedFrame[];
}

/**
 * Coalesces the extents of one batch and packs what is left into compressed frames, ready for `encodeBatch`.
 * Each write lies in one frame; frames fill in order. Frames that need no bytes left out alias `payload` when stored raw.
 */
export function packExtents(tapped: TappedExtents, payload: Uint8Array, level: FrameLevel): PackedExtents {
  const keep = coalesce(tapped);
  const extents = newExtentColumns(tapped.count);
  const packer = new FramePacker(payload, level);
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
  /** Runs of the open frame: start and end in the payload, by turns. */
  #runs: number[] = [];
  #filled = 0;

  constructor(payload: Uint8Array, level: FrameLevel) {
    this.#payload = payload;
    this.#level = level;
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
    this.frames.push(compressFrame(this.#gather(), this.#level));
    this.#runs = [];
    this.#filled = 0;
  }

  #gather(): Uint8Array {
    if (this.#runs.length === 2) return this.#payload.subarray(this.#runs[0], this.#runs[1]);
    const raw = new Uint8Array(this.#filled);
    let place = 0;
    for (let run = 0; run < this.#runs.length; run += 2) {
      const bytes = this.#payload.subarray(this.#runs[run], this.#runs[run + 1]);
      raw.set(bytes, place);
      place += bytes.length;
    }
    return raw;
  }
}
