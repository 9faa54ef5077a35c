import { framesMax } from "#core/journal/limits.ts";
import type { VisibleRun } from "./view.ts";

/** Run numbers and frame keys share a double when sorted: 2^22 runs times 2^31 frames is 2^53. */
const runNumbers = 2 ** 22;

/** Runs of an image as columns (24 bytes each), in order of offset; they can be gone through frame by frame. */
export class RunList {
  #count = 0;
  #offset = new Float64Array(1024);
  #length = new Uint32Array(1024);
  #frameKey = new Float64Array(1024);
  #frameOffset = new Uint32Array(1024);

  get count(): number {
    return this.#count;
  }

  /** Ascending offsets; at most 2^22 runs. */
  push(run: VisibleRun): void {
    if (this.#count === runNumbers) throw new RangeError(`a run list holds ${runNumbers} runs`);
    if (this.#count === this.#offset.length) this.#grow();
    this.#offset[this.#count] = run.offset;
    this.#length[this.#count] = run.length;
    this.#frameKey[this.#count] = run.batch * framesMax + run.frame;
    this.#frameOffset[this.#count] = run.frameOffset;
    this.#count += 1;
  }

  /** Runs of one frame after the other, those of a frame by offset; neighbours in frame and volume are joined. */
  *byFrame(): Generator<readonly VisibleRun[]> {
    const keys = new Float64Array(this.#count);
    for (let run = 0; run < this.#count; run += 1) keys[run] = (this.#frameKey[run] ?? 0) * runNumbers + run;
    keys.sort();
    for (let at = 0; at < keys.length; ) {
      const frameKey = Math.floor((keys[at] ?? 0) / runNumbers);
      const group: VisibleRun[] = [];
      for (; at < keys.length; at += 1) {
        const key = keys[at] ?? 0;
        if (Math.floor(key / runNumbers) !== frameKey) break;
        this.#join(group, key - frameKey * runNumbers, frameKey);
      }
      yield group;
    }
  }

  /** The ranges that all runs cover together, ascending. */
  *ranges(): Generator<{ readonly offset: number; readonly length: number }> {
    for (let run = 0; run < this.#count; ) {
      const offset = this.#offset[run] ?? 0;
      let end = offset;
      for (; run < this.#count && this.#offset[run] === end; run += 1) end += this.#length[run] ?? 0;
      yield { offset, length: end - offset };
    }
  }

  #join(group: VisibleRun[], run: number, frameKey: number): void {
    const offset = this.#offset[run] ?? 0;
    const length = this.#length[run] ?? 0;
    const frameOffset = this.#frameOffset[run] ?? 0;
    const batch = Math.floor(frameKey / framesMax);
    const frame = frameKey - batch * framesMax;
    const last = group.at(-1);
    const next = last !== undefined && last.offset + last.length === offset;
    if (next && last.frameOffset + last.length === frameOffset) {
      group[group.length - 1] = { ...last, length: last.length + length };
    } else {
      group.push({ offset, length, batch, frame, frameOffset });
    }
  }

  #grow(): void {
    const room = this.#offset.length * 2;
    const [offset, frameKey] = [new Float64Array(room), new Float64Array(room)];
    const [length, frameOffset] = [new Uint32Array(room), new Uint32Array(room)];
    offset.set(this.#offset);
    length.set(this.#length);
    frameKey.set(this.#frameKey);
    frameOffset.set(this.#frameOffset);
    this.#offset = offset;
    this.#length = length;
    this.#frameKey = frameKey;
    this.#frameOffset = frameOffset;
  }
}
