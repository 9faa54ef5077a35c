import { LimitExceeded } from "#core/errors.ts";
import type { BatchHeader, FrameInfo } from "#core/journal/batch.ts";
import { decodeFrame } from "#core/journal/frame.ts";
import { framesMax } from "#core/journal/limits.ts";
import type { BatchRef, JournalSource } from "./journal-source.ts";
import { frameCacheBytes, headerCacheBytes, readerBatchesMax } from "./limits.ts";
import { LoadingCache } from "./loading-cache.ts";

/**
 * Headers and frames of one VPG's journal, kept in bounded caches that all its views may share: batches never change.
 * Batches get small numbers here, in the order they are first seen, so that index columns and cache keys are numbers.
 */
export class JournalReader {
  readonly source: JournalSource;
  readonly #refs: BatchRef[] = [];
  /** Session to batch, or pack, to number. */
  readonly #numbers = new Map<number, Map<number | string, number>>();
  readonly #headers: LoadingCache<BatchHeader>;
  readonly #frames: LoadingCache<Uint8Array>;

  constructor(
    source: JournalSource,
    limits: { readonly headerCacheBytes?: number; readonly frameCacheBytes?: number } = {},
  ) {
    this.source = source;
    this.#headers = new LoadingCache(limits.headerCacheBytes ?? headerCacheBytes, headerWeight);
    this.#frames = new LoadingCache(limits.frameCacheBytes ?? frameCacheBytes, (raw) => raw.length + 128);
  }

  /** The batch's number here; the same for every reference to it. */
  numberOf(ref: BatchRef): number {
    let session = this.#numbers.get(ref.session);
    if (session === undefined) {
      session = new Map();
      this.#numbers.set(ref.session, session);
    }
    const name = ref.pack ?? ref.batch;
    const known = session.get(name);
    if (known !== undefined) return known;
    if (this.#refs.length === readerBatchesMax) {
      throw new LimitExceeded(`a reader has met ${readerBatchesMax} batches: compact the journal`, {
        readerBatchesMax,
      });
    }
    const number = this.#refs.push(ref) - 1;
    session.set(name, number);
    return number;
  }

  header(number: number): Promise<BatchHeader> {
    return this.#headers.get(number, () => this.source.header(this.#ref(number)));
  }

  /** The frame's raw bytes if they are at hand. */
  peekFrame(number: number, frame: number): Uint8Array | undefined {
    return this.#frames.peek(number * framesMax + frame);
  }

  /** The frame's raw bytes, its CRC32 checked. Throws `Corrupt`. */
  frame(number: number, frame: number): Promise<Uint8Array> {
    return this.#frames.get(number * framesMax + frame, async () => {
      const header = await this.header(number);
      return decodeFrame(header, frame, await this.source.frame(this.#ref(number), header, frame));
    });
  }

  /** The frame as it is stored, unchecked and not kept: for whoever decodes it elsewhere. */
  async storedFrame(number: number, frame: number): Promise<{ readonly info: FrameInfo; readonly bytes: Uint8Array }> {
    const header = await this.header(number);
    const info = header.frames[frame];
    if (info === undefined) throw new RangeError(`no frame ${frame}`);
    return { info, bytes: await this.source.frame(this.#ref(number), header, frame) };
  }

  #ref(number: number): BatchRef {
    const ref = this.#refs[number];
    if (ref === undefined) throw new RangeError(`no batch number ${number}`);
    return ref;
  }
}

/** Columns take 24 bytes a record, a frame's object about 80, an event's about 120. */
function headerWeight(header: BatchHeader): number {
  return 1024 + header.extents.count * 24 + header.frames.length * 80 + header.events.length * 120;
}
