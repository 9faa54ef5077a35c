import { encodeBatch, encodeSeal } from "#core/journal/encode.ts";
import { batchHash } from "#core/journal/hash.ts";
import { batchKey, sessionClaimKey } from "#core/journal/keys.ts";
import { encodeSessionClaim, type SessionClaim } from "#core/journal/session-claim.ts";
import type { Objects } from "#core/ports.ts";
import { type SampleBatch, sampleInput, siteId, vpgId } from "./batches.ts";

/** Writes sessions and batches into a store as a gateway and a site would, chained and in order. */
export class JournalWriter {
  readonly #objects: Objects;
  #claim: SessionClaim | undefined;
  #batch = 0;
  #hash = new Uint8Array(32);
  sequence = 0;

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  get session(): number {
    return this.#claim?.session ?? 0;
  }

  async open(claim: Partial<SessionClaim> = {}): Promise<void> {
    const whole: SessionClaim = {
      formatVersion: 1,
      vpgId,
      term: this.#claim?.term ?? 1,
      session: this.session + 1,
      gatewayId: siteId,
      nonce: "n",
      openedAt: 0,
      configRevision: 1,
      continues: false,
      volumes: [{ volume: 0, sizeBytes: 1024 * 1024, sectorBytes: 512 }],
      ...claim,
    };
    await this.#objects.put(sessionClaimKey(vpgId, whole.session), encodeSessionClaim(whole), { ifAbsent: true });
    this.#claim = whole;
    this.#batch = 0;
    this.#hash = new Uint8Array(32);
    this.sequence = 0;
  }

  /** The next batch; records without a sequence of their own place follow each other. Returns its key. */
  async append(sample: SampleBatch): Promise<string> {
    const { key, object } = this.next(sample);
    await this.#objects.put(key, object, { ifAbsent: true });
    return key;
  }

  /** The next batch as it would be stored; the one after it goes on from here whether or not it is. */
  next(sample: SampleBatch): { key: string; object: Uint8Array } {
    const place = { vpgId, term: this.#claim?.term ?? 1, session: this.session, batch: this.#batch };
    const object = encodeBatch(
      sampleInput({ firstSequence: this.sequence + 1, previousHash: this.#hash, ...place, ...sample }),
    );
    this.#batch += 1;
    this.#hash = Uint8Array.from(batchHash(object));
    const last = [...(sample.extents ?? []), ...(sample.events ?? [])].map((record) => record.sequence);
    this.sequence = Math.max(...last);
    return { key: batchKey(place), object };
  }

  async seal(): Promise<string> {
    const place = { vpgId, term: this.#claim?.term ?? 1, session: this.session, batch: this.#batch };
    const object = encodeSeal({
      ...place,
      siteId,
      reason: "session-opened",
      followingTerm: place.term,
      followingSession: place.session + 1,
      sealedAt: 1,
    });
    await this.#objects.put(batchKey(place), object, { ifAbsent: true });
    return batchKey(place);
  }
}

/** Everything the generator gives, copied, since pieces may share memory. */
export async function collected<T, R>(items: AsyncIterable<T>, copy: (item: T) => R): Promise<R[]> {
  const all: R[] = [];
  for await (const item of items) all.push(copy(item));
  return all;
}
