import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import { type BatchEvent, extentKinds } from "#core/journal/batch.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { batchHash } from "#core/journal/hash.ts";
import { packExtents } from "#core/journal/pack.ts";
import type { SentBatch } from "#core/protection/ingest.ts";

export interface SampleWrite {
  readonly volume: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface SampleZero {
  readonly volume: number;
  readonly offset: number;
  readonly zero: number;
}

const bytesOf = (sample: SampleWrite | SampleZero): Uint8Array =>
  "bytes" in sample ? sample.bytes : new Uint8Array(0);

interface Opened extends Pick<OpenSessionReply, "term" | "session"> {
  readonly volumes: readonly { readonly volume: number }[];
}

export type Unplaced<E> = E extends BatchEvent ? Omit<E, "sequence"> : never;

/** A gateway's side of one session: chained batches with true sequences, without its clock, network or disks. */
export class Stream {
  readonly vpgId: Id;
  readonly term: number;
  readonly session: number;
  readonly volumes: readonly { readonly volume: number }[];
  sequence = 0;
  batch = 0;
  #hash: Uint8Array = new Uint8Array(32);

  constructor(vpgId: Id, opened: Opened) {
    this.vpgId = vpgId;
    this.term = opened.term;
    this.session = opened.session;
    this.volumes = opened.volumes;
  }

  /** Another that goes on from here; with `forgetful`, one that doesn't know what the last batch was. */
  clone(forgetful = false): Stream {
    const copy = new Stream(this.vpgId, this);
    copy.sequence = this.sequence;
    copy.batch = this.batch;
    copy.#hash = forgetful ? new Uint8Array(32).fill(7) : this.#hash;
    return copy;
  }

  /** The next batch: writes and zeros, then events. */
  next(
    writes: readonly (SampleWrite | SampleZero)[],
    events: readonly Unplaced<BatchEvent>[] = [],
    time = Date.UTC(2030, 0, 1, 12),
  ): SentBatch {
    const firstSequence = this.sequence + 1;
    const count = writes.length;
    const payload = Buffer.concat(writes.map(bytesOf));
    let place = 0;
    const extents = {
      count,
      kind: Uint8Array.from(writes, (sample) => ("bytes" in sample ? extentKinds.write : extentKinds.zero)),
      volume: Uint16Array.from(writes, ({ volume }) => volume),
      sequenceDelta: Uint32Array.from(writes.keys()),
      offset: Float64Array.from(writes, ({ offset }) => offset),
      length: Uint32Array.from(writes, (sample) => ("bytes" in sample ? sample.bytes.length : sample.zero)),
      payloadOffset: Uint32Array.from(writes, (sample) => {
        const { length } = bytesOf(sample);
        place += length;
        return place - length;
      }),
    };
    const placed = events.map((event, index) => ({ ...event, sequence: firstSequence + count + index }) as BatchEvent);
    const body = encodeBatch({
      vpgId: this.vpgId,
      term: this.term,
      session: this.session,
      batch: this.batch,
      previousHash: this.#hash,
      configRevision: 1,
      firstSequence,
      lastSequence: firstSequence + count + events.length - 1,
      sourceTimeFirst: time,
      sourceTimeLast: time,
      events: placed,
      ...packExtents(extents, payload, "raw"),
    });
    const sent: SentBatch = {
      vpgId: this.vpgId,
      term: this.term,
      session: this.session,
      batch: this.batch,
      body,
      ageMs: 0,
    };
    this.sequence += count + events.length;
    this.batch += 1;
    this.#hash = batchHash(body).slice();
    return sent;
  }

  /** A batch that says every volume is synced. */
  synced(): SentBatch {
    const all = this.volumes.flatMap(({ volume }) => [
      { kind: "sync-begin", volume } as const,
      { kind: "sync-end", volume } as const,
    ]);
    return this.next([], all);
  }

  /** One small write and a checkpoint. */
  checkpoint(time: number, tag = ""): SentBatch {
    const bytes = new Uint8Array(512).fill(this.batch + 1);
    const write = { volume: this.volumes[0]?.volume ?? 1, offset: 512 * (this.batch % 64), bytes };
    return this.next([write], [{ kind: "marker", time, tag }], time);
  }

  close(): SentBatch {
    return this.next([], [{ kind: "close" }]);
  }
}
