/** What a recovery site keeps of one session, in memory: batches as they were uploaded, checked, and replayed by hand. */
import { Diverged, Fenced, Transient } from "#core/errors.ts";
import { type BatchHeader, extentKinds } from "#core/journal/batch.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { decodeFrame } from "#core/journal/frame.ts";
import { batchHash, bytesEqual } from "#core/journal/hash.ts";
import { hashChunk } from "#core/sync/hash-chunk.ts";
import type { Upload } from "../../gateway/ship/engine.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface LinkFaults {
  /** Shares of uploads. */
  losesReply: number;
  fails: number;
  /** Uploads wait up to so many turns of the event loop. */
  turnsMax: number;
  /** Nothing arrives while it is true. */
  down: boolean;
  fenced: boolean;
}

const chunk = 512 * 1024;

export class MemoryJournal {
  readonly batches = new Map<number, Uint8Array>();
  readonly faults: LinkFaults = { losesReply: 0, fails: 0, turnsMax: 0, down: false, fenced: false };
  readonly #random: SeededRandom;
  readonly #base: readonly Buffer[];
  readonly #run: { header: BatchHeader; bytes: Uint8Array }[] = [];
  readonly #images = new Map<string, Buffer>();

  /** `base`: each volume as it was before the session, by journal number from 1. */
  constructor(base: readonly Buffer[], random: SeededRandom) {
    this.#base = base;
    this.#random = random;
  }

  readonly upload: Upload = async (batch, object, _ageMs, signal) => {
    for (let turn = this.#random.below(this.faults.turnsMax + 1); turn >= 0 || this.faults.down; turn -= 1) {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    }
    if (this.faults.fenced) throw new Fenced("another session was opened");
    if (this.#random.chance(this.faults.fails)) throw new Transient("injected: before");
    const stored = this.batches.get(batch);
    if (stored !== undefined && !bytesEqual(stored, object)) throw new Diverged(`batch ${batch} has other bytes`);
    this.batches.set(batch, Uint8Array.from(object));
    if (this.#random.chance(this.faults.losesReply)) throw new Transient("injected: after");
  };

  /** The headers of the unbroken run, its chain checked. */
  headers(): readonly { readonly header: BatchHeader; readonly bytes: Uint8Array }[] {
    const run = this.#run;
    const last = run.at(-1);
    let previous: Uint8Array = last === undefined ? new Uint8Array(32) : batchHash(last.bytes);
    let sequence = last?.header.lastSequence ?? 0;
    for (let bytes = this.batches.get(run.length); bytes !== undefined; bytes = this.batches.get(run.length)) {
      const object = decodeObject(bytes);
      if (object.kind !== "batch") throw new Error("a seal");
      if (!bytesEqual(object.header.previousHash, previous)) throw new Error(`batch ${run.length} breaks the chain`);
      if (object.header.firstSequence !== sequence + 1) throw new Error(`batch ${run.length} leaves a hole`);
      previous = batchHash(bytes);
      sequence = object.header.lastSequence;
      run.push({ header: object.header, bytes });
    }
    return run;
  }

  /** The volume as of a sequence, by plain replay over the base. */
  image(volume: number, upTo = Number.POSITIVE_INFINITY): Buffer {
    const image = Buffer.from(this.#base[volume - 1] ?? Buffer.alloc(0));
    for (const { header, bytes } of this.headers()) {
      const { extents } = header;
      for (let index = 0; index < extents.count; index += 1) {
        const sequence = header.firstSequence + (extents.sequenceDelta[index] ?? 0);
        if (extents.volume[index] !== volume || sequence > upTo) continue;
        const offset = extents.offset[index] ?? 0;
        const length = extents.length[index] ?? 0;
        if (extents.kind[index] === extentKinds.zero) {
          image.fill(0, offset, offset + length);
          continue;
        }
        const number = extents.frame[index] ?? 0;
        const frame = header.frames[number];
        if (frame === undefined) throw new Error("no frame");
        const raw = decodeFrame(header, number, bytes.subarray(frame.start, frame.start + frame.storedLength));
        const start = extents.frameOffset[index] ?? 0;
        image.set(raw.subarray(start, start + length), offset);
      }
    }
    return image;
  }

  hashes(volume: number, upTo: number, chunks: readonly number[] | undefined): Buffer {
    const key = `${volume} ${upTo}`;
    const image = this.#images.get(key) ?? this.image(volume, upTo);
    this.#images.set(key, image);
    const hashes: Uint8Array[] = [];
    if (chunks === undefined) {
      for (let at = 0; at < image.length; at += chunk) hashes.push(hashChunk(image.subarray(at, at + chunk)).chunk);
    }
    for (const number of chunks ?? []) {
      hashes.push(hashChunk(image.subarray(number * chunk, (number + 1) * chunk)).blocks);
    }
    return Buffer.concat(hashes);
  }
}
