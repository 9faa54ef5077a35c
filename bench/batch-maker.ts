import { randomFillSync } from "node:crypto";
import { extentKinds } from "#core/journal/batch.ts";
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
  /** Random bytes don't compress; equal ones go down to almost nothing. */
  readonly payload: "random" | "equal";
}

export interface MadeBatch {
  readonly batch: number;
  readonly body: Uint8Array;
}

/** Batches of writes at random places, chained, by the gateway's own codec. */
export class BatchMaker {
  readonly #opened: OpenedSession;
  readonly #shape: BatchShape;
  readonly #payload: Buffer;
  #batch = 0;
  #hash = new Uint8Array(32);
  /** Of the last write made. */
  sequence = 0;
  /** Where the last batch wrote. */
  offsets = new Float64Array(0);

  constructor(opened: OpenedSession, shape: BatchShape) {
    this.#opened = opened;
    this.#shape = shape;
    this.#payload = Buffer.alloc(shape.writes * shape.writeBytes, 0x5a);
    if (shape.payload === "random") randomFillSync(this.#payload);
  }

  next(): MadeBatch {
    const { writes, payload } = this.#shape;
    const { vpgId, term, session, configRevision } = this.#opened;
    this.offsets = this.#places();
    const firstSequence = this.sequence + 1;
    this.sequence += writes;
    const body = encodeBatch({
      vpgId,
      term,
      session,
      batch: this.#batch,
      previousHash: this.#hash,
      configRevision,
      firstSequence,
      lastSequence: this.sequence,
      sourceTimeFirst: Date.now(),
      sourceTimeLast: Date.now(),
      events: [],
      ...packExtents(this.#extents(), this.#payload, payload === "random" ? "raw" : "zstd1"),
    });
    this.#hash = Uint8Array.from(batchHash(body));
    this.#batch += 1;
    return { batch: this.#batch - 1, body };
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
