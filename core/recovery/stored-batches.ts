import { Corrupt, MalformedBatch } from "#core/errors.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { decodeObject, decodePrefix, type JournalObject } from "#core/journal/decode.ts";
import { headerLength } from "#core/journal/fixed-header.ts";
import { batchHash } from "#core/journal/hash.ts";
import { batchKey, packKey } from "#core/journal/keys.ts";
import { hashBytes } from "#core/journal/layout.ts";
import { headerReadBytes } from "#core/journal/limits.ts";
import type { Objects } from "#core/ports.ts";
import { CoalescedReads } from "./coalesced-reads.ts";
import type { BatchRef } from "./journal-source.ts";

/** What is known of an object before it is read. */
export type StoredPlace = Pick<BatchRef, "term" | "session" | "batch" | "size" | "headerLength" | "pack">;

/** Reads parts of a VPG's stored batches by ranges: the half of a `JournalSource` that any index needs. */
export class StoredBatches {
  readonly #objects: Pick<Objects, "get">;
  readonly #vpgId: string;

  constructor(objects: Pick<Objects, "get">, vpgId: string) {
    this.#objects = new CoalescedReads(objects);
    this.#vpgId = vpgId;
  }

  /** Throws `Corrupt` when what is stored is not the batch that the reference names, `NotFound` when it is gone. */
  async header(ref: BatchRef): Promise<BatchHeader> {
    const object = this.#decode(ref, await this.#prefix(ref));
    if (object.kind === "seal") throw this.#corrupt(ref, "is a seal");
    const { header } = object;
    if (header.firstSequence !== ref.firstSequence || header.lastSequence !== ref.lastSequence) {
      throw this.#corrupt(ref, "has other sequences than its index says");
    }
    return header;
  }

  /** What stands at a place, and the hash it is chained by (as stored, not computed). Throws like `header`. */
  async object(place: StoredPlace): Promise<{ readonly object: JournalObject; readonly hash: Uint8Array }> {
    const prefix = await this.#prefix(place);
    const object = this.#decode(place, prefix);
    if (prefix.length === place.size) return { object, hash: batchHash(prefix) };
    const range = { offset: place.size - hashBytes, length: hashBytes };
    return { object, hash: await this.#objects.get(this.keyOf(place), range) };
  }

  /** Reads the whole object and compares its SHA-256 with the one it ends with. Throws `Corrupt`. */
  async assertWhole(place: StoredPlace): Promise<void> {
    const bytes = await this.whole(place);
    storedAs(this.keyOf(place), () => decodeObject(bytes));
  }

  /** The stored bytes of a frame. */
  frame(ref: StoredPlace, header: BatchHeader, index: number): Promise<Uint8Array> {
    const frame = header.frames[index];
    if (frame === undefined) throw new RangeError(`no frame ${index}`);
    return this.#objects.get(this.keyOf(ref), { offset: frame.start, length: frame.storedLength });
  }

  /** The whole object. */
  whole(place: StoredPlace): Promise<Uint8Array> {
    return this.#objects.get(this.keyOf(place));
  }

  keyOf(place: StoredPlace): string {
    const { term, session, batch, pack } = place;
    const of = { vpgId: this.#vpgId, term, session, batch };
    return pack === undefined ? batchKey(of) : packKey(of, pack);
  }

  /** Bytes from the start on that hold the header whole. */
  async #prefix(place: StoredPlace): Promise<Uint8Array> {
    const key = this.keyOf(place);
    const first = await this.#objects.get(key, { offset: 0, length: place.headerLength ?? headerReadBytes });
    const length = storedAs(key, () => headerLength(first));
    if (first.length >= length) return first;
    const rest = await this.#objects.get(key, { offset: first.length, length: length - first.length });
    return Buffer.concat([first, rest]);
  }

  #decode(place: StoredPlace, bytes: Uint8Array): JournalObject {
    const object = storedAs(this.keyOf(place), () => decodePrefix(bytes, { size: place.size }));
    const found = object.kind === "batch" ? object.header : object.seal;
    const right = found.term === place.term && found.session === place.session && found.batch === place.batch;
    if (!right || found.vpgId !== this.#vpgId) throw this.#corrupt(place, "belongs at another place");
    return object;
  }

  #corrupt(place: StoredPlace, what: string): Corrupt {
    const key = this.keyOf(place);
    return new Corrupt(`${key} ${what}`, { key });
  }
}

/** What the format refuses was accepted once, so it is the store that changed it: `Corrupt`. */
export function storedAs<T>(key: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof MalformedBatch)) throw error;
    throw new Corrupt(`${key}: ${error.message}`, { ...error.details, key }, { cause: error });
  }
}
