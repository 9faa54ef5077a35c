import { randomFillSync } from "node:crypto";
import { type BatchEvent, extentKinds } from "#core/journal/batch.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { batchHash } from "#core/journal/hash.ts";
import { packExtents, type TappedExtents } from "#core/journal/pack.ts";

/** Where batches go. */
export interface OpenedSession {
  readonly vpgId: string;
  readonly term: number;
  readonly session: number;
  readonly configRevision: number;
  readonly volume: number;
  readonly volumeBytes: number;
}

export interface BatchShape {
  readonly writes: number;
  readonly writeBytes: number;
  /** Random bytes don't compress; equal ones go down to almost nothing; of half ones every write is half of each. */
  readonly payload: "random" | "equal" | "half";
  /** Each batch ends with a checkpoint. */
  readonly markers?: boolean;
}

export interface MadeBatch {
  readonly batch: number;
  readonly body: Uint8Array;
}

/** Batches of writes at random places, chained, by the gateway's own codec. */
export class BatchMaker {
  readonly #opened: OpenedSession;
  readonly #shape: BatchShape;
  readonly #now: () => number;
  readonly #payload: Buffer;
  #batch = 0;
  #hash = new Uint8Array(32);
  /** Of the last write made. */
  sequence = 0;
  /** Where the last batch wrote. */
  offsets = new Float64Array(0);

  /** `now` is the source's clock. */
  constructor(opened: OpenedSession, shape: BatchShape, now: () => number = Date.now) {
    this.#now = now;
    this.#opened = opened;
    this.#shape = shape;
    this.#payload = Buffer.alloc(shape.writes * shape.writeBytes, 0x5a);
    if (shape.payload === "random") randomFillSync(this.#payload);
    if (shape.payload === "half")
      for (let at = 0; at < this.#payload.length; at += shape.writeBytes)
        randomFillSync(this.#payload, at, shape.writeBytes / 2);
  }

  next(): MadeBatch {
    const { writes, payload, markers = false } = this.#shape;
    const time = this.#now();
    const { vpgId, term, session, configRevision } = this.#opened;
    this.offsets = this.#places();
    const firstSequence = this.sequence + 1;
    this.sequence += writes;
    const events = markers ? this.#checkpoint(time) : [];
    this.sequence += events.length;
    const body = encodeBatch({
      vpgId,
      term,
      session,
      batch: this.#batch,
      previousHash: this.#hash,
      configRevision,
      firstSequence,
      lastSequence: this.sequence,
      sourceTimeFirst: time,
      sourceTimeLast: time,
      events,
      ...packExtents(this.#extents(), this.#payload, payload === "random" ? "raw" : "zstd1"),
    });
    this.#hash = Uint8Array.from(batchHash(body));
    this.#batch += 1;
    return { batch: this.#batch - 1, body };
  }

  /** Behind the writes: the end of the first sync, without which nothing is a checkpoint, then the marker. */
  #checkpoint(time: number): BatchEvent[] {
    const end = { kind: "sync-end", sequence: this.sequence + 1, volume: this.#opened.volume } as const;
    const first = this.#batch === 0 ? [end] : [];
    return [...first, { kind: "marker", sequence: this.sequence + first.length + 1, time, tag: "" }];
  }

  /** Different places within the batch, so that coalescing keeps every write. */
  #places(): Float64Array<ArrayBuffer> {
    const { writes, writeBytes } = this.#shape;
    const blocks = new Set<number>();
    while (blocks.size < writes) blocks.add(Math.floor((Math.random() * this.#opened.volumeBytes) / writeBytes));
    return Float64Array.from(blocks, (block) => block * writeBytes);
  }

  #extents(): TappedExtents {
    const { writes: count, writeBytes } = this.#shape;
    const rising = (step: number): Uint32Array => Uint32Array.from({ length: count }, (_, index) => index * step);
    return {
      count,
      kind: new Uint8Array(count).fill(extentKinds.write),
      volume: new Uint16Array(count).fill(this.#opened.volume),
      sequenceDelta: rising(1),
      offset: this.offsets,
      length: new Uint32Array(count).fill(writeBytes),
      payloadOffset: rising(writeBytes),
    };
  }
}
