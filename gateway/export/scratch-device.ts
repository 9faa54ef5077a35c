/**
 * A disk over an image that never changes: what was written is local, the rest reads from the image.
 *
 * What a crash leaves: writes that were flushed are there. A block that became local since the last flush reads as the image again,
 * whatever stands in the local file, because its bit was not durable; such a file has garbage where bits are missing, so content is
 * never taken from it there, and hydration writes zeros over it too (`holesKnown`).
 */
import { type BlockDevice, DiskError } from "../disk/block-device.ts";
import { type RangeHold, RangeLock } from "../disk/range-lock.ts";
import type { Image } from "./image.ts";
import { adoptPieceBytes, blockBytes, dirtyBitmapPagesMax, imageReadGapBytes } from "./limits.ts";
import type { LocalBitmap } from "./local-bitmap.ts";
import { type ByteSpan, zeroRuns } from "./zero-runs.ts";

export interface ScratchParts {
  /** As large as the image; reads zeros where nothing was ever written. */
  readonly local: BlockDevice;
  readonly bitmap: LocalBitmap;
  readonly image: Image;
  /** True when everything outside the bitmap is a hole of the local file for sure: it is new, or was closed cleanly. */
  readonly holesKnown: boolean;
  /** Durable: from now on the local file alone is the disk. */
  recordPromoted(): Promise<void>;
  /** Durable: everything outside the bitmap is a hole. */
  recordClean(): Promise<void>;
}

export class ScratchDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly sectorBytes: 512 | 4096;
  readonly readOnly = false;
  readonly #parts: ScratchParts;
  readonly #local: BlockDevice;
  readonly #bitmap: LocalBitmap;
  readonly #lock = new RangeLock();
  #holesKnown: boolean;
  #failedWrites = 0;
  #promoted = false;
  #broken: DiskError | undefined;
  #imageReads = 0;
  #onNoImageReads: (() => void)[] = [];
  #flushRunning: Promise<void> | undefined;
  #flushWaiting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: ScratchParts) {
    this.#parts = parts;
    this.#local = parts.local;
    this.#bitmap = parts.bitmap;
    this.#holesKnown = parts.holesKnown;
    this.sizeBytes = parts.local.sizeBytes;
    this.sectorBytes = parts.local.sectorBytes;
    if (parts.image.sizeBytes !== this.sizeBytes) throw new TypeError("scratch and image differ in size");
  }

  /** True once the local file alone is the disk. */
  get promoted(): boolean {
    return this.#promoted;
  }

  /** Grows when a write failed over blocks that were not local: what stands there in the local file is unknown. */
  get failedWrites(): number {
    return this.#failedWrites;
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    if (this.#promoted || this.#bitmap.hasAll(firstBlock(offset), endBlock(offset + target.length))) {
      return this.#local.read(offset, target);
    }
    return this.#readMixed(offset, target);
  }

  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    return this.#change(offset, source.length, () => this.#writeNow(offset, source), fua);
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): void | Promise<void> {
    return this.#change(offset, length, () => this.#zeroNow(offset, length, options.mayTrim), options.fua);
  }

  /** Frees no space where data already is (Node can't punch holes), but costs none where the guest never wrote. */
  trim(offset: number, length: number): void | Promise<void> {
    return this.#change(offset, length, () => this.#zeroNow(offset, length, true), false);
  }

  async flush(): Promise<void> {
    this.#refuse();
    await this.#sharedFlush();
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeNow();
    return this.#closing;
  }

  /** Takes image content for the blocks of the range that are not local yet, zeros as holes. Starts and ends at block bounds or the disk's end. Resolves with the bytes written. */
  async adopt(offset: number, content: Uint8Array): Promise<number> {
    let written = 0;
    await this.#underLock(offset, content.length, async (run) => {
      for (const part of zeroRuns(content.subarray(run.start - offset, run.end - offset))) {
        const start = run.start + part.start;
        const bytes = content.subarray(start - offset, run.start + part.end - offset);
        if (part.zero) {
          await this.#ensureHole(start, bytes.length);
        } else {
          await this.#writeBlocks(start, bytes);
          written += bytes.length;
        }
      }
    });
    return written;
  }

  /** The image is zeros here: makes the local file read as zeros wherever it isn't local. */
  async adoptZeroes(offset: number, length: number): Promise<void> {
    if (this.#holesKnown) return;
    await this.#underLock(offset, length, (run) => this.#ensureHole(run.start, run.end - run.start));
  }

  /** True when every block of the range is local. */
  isLocal(offset: number, length: number): boolean {
    return this.#promoted || this.#bitmap.hasAll(firstBlock(offset), endBlock(offset + length));
  }

  /**
   * Makes the local file the whole disk, durably; every block outside the bitmap was adopted before. False, and nothing done, when a
   * write has failed since `failedWrites` was what the caller says: then the adoption must go over the disk once more.
   */
  async promote(failedWrites: number): Promise<boolean> {
    if (this.#promoted) return true;
    // First without the lock: what is left to make durable under it is then little, and guests hardly wait.
    await this.flush();
    const hold = await this.#lock.acquire(0, this.sizeBytes, true);
    try {
      if (this.#failedWrites !== failedWrites) return false;
      await this.#sharedFlush();
      await this.#parts.recordPromoted();
      this.#promoted = true;
    } finally {
      this.#lock.release(hold);
    }
    await this.#noImageReads();
    await this.#bitmap.close();
    return true;
  }

  /** One change: under the lock of its whole blocks, and without a promise when it is done within this tick. */
  #change(offset: number, length: number, act: () => void | Promise<void>, fua: boolean): void | Promise<void> {
    this.#refuse();
    const start = blockStart(offset);
    const locked = blockEnd(offset + length) - start;
    if (!this.#lock.isFree(start, locked, true)) return this.#changeLater(start, locked, act, fua);
    const pending = act();
    if (pending instanceof Promise) return this.#changeDone(this.#lock.hold(start, locked, true), pending, fua);
    if (fua) return this.#sharedFlush();
  }

  async #changeLater(start: number, length: number, act: () => void | Promise<void>, fua: boolean): Promise<void> {
    const hold = await this.#lock.acquire(start, length, true);
    let pending: void | Promise<void>;
    try {
      pending = act();
    } catch (error) {
      this.#lock.release(hold);
      throw error;
    }
    await this.#changeDone(hold, pending, fua);
  }

  async #changeDone(hold: RangeHold, pending: void | Promise<void>, fua: boolean): Promise<void> {
    try {
      await pending;
    } finally {
      this.#lock.release(hold);
    }
    if (fua) await this.#sharedFlush();
  }

  #writeNow(offset: number, source: Uint8Array): void | Promise<void> {
    if (this.#promoted) return this.#local.write(offset, source, false);
    if (this.#needsMerge(offset) || this.#needsMerge(offset + source.length)) return this.#writeMerged(offset, source);
    return this.#writeBlocks(offset, source);
  }

  /** True when a write that begins or ends here covers a part of a block that is not local. */
  #needsMerge(edge: number): boolean {
    return edge % blockBytes !== 0 && edge !== this.sizeBytes && !this.#bitmap.has(firstBlock(edge));
  }

  /** Writes where every block that is touched is covered whole or local already, and marks them local. */
  #writeBlocks(offset: number, source: Uint8Array): void | Promise<void> {
    const failed = (error: unknown): never => {
      this.#writeFailed(offset, source.length);
      throw error;
    };
    let pending: void | Promise<void>;
    try {
      pending = this.#local.write(offset, source, false);
    } catch (error) {
      return failed(error);
    }
    if (pending instanceof Promise) return pending.then(() => this.#setLocal(offset, source.length), failed);
    this.#setLocal(offset, source.length);
  }

  /** The first and the last block get the rest of their content from the image. No block counts as local before all are written. */
  async #writeMerged(offset: number, source: Uint8Array): Promise<void> {
    const end = offset + source.length;
    let from = offset;
    let to = end;
    const edges: { readonly at: number; readonly bytes: Uint8Array }[] = [];
    for (const edge of [offset, end]) {
      const at = blockStart(edge);
      if (!this.#needsMerge(edge) || edges.some((known) => known.at === at)) continue;
      const bytes = Buffer.allocUnsafe(Math.min(blockBytes, this.sizeBytes - at));
      await this.#readImage(at, bytes);
      const first = Math.max(offset, at);
      const last = Math.min(end, at + bytes.length);
      bytes.set(source.subarray(first - offset, last - offset), first - at);
      edges.push({ at, bytes });
      if (at <= offset) from = last;
      else to = first;
    }
    try {
      for (const { at, bytes } of edges) await this.#local.write(at, bytes, false);
      if (from < to) await this.#local.write(from, source.subarray(from - offset, to - offset), false);
    } catch (error) {
      this.#writeFailed(offset, source.length);
      throw error;
    }
    this.#setLocal(offset, source.length);
  }

  async #zeroNow(offset: number, length: number, mayTrim: boolean): Promise<void> {
    if (this.#promoted) return this.#local.writeZeroes(offset, length, { mayTrim, fua: false });
    const end = offset + length;
    const wholeStart = Math.min(blockEnd(offset), end);
    const wholeEnd = end === this.sizeBytes ? end : Math.max(blockStart(end), wholeStart);
    if (offset < wholeStart) await this.#writeNow(offset, zeroBlock.subarray(0, wholeStart - offset));
    for (const run of this.#runs(wholeStart, wholeEnd)) {
      const bytes = run.end - run.start;
      if (run.local || !mayTrim) await this.#zeroFile(run.start, bytes, mayTrim);
      else await this.#ensureHole(run.start, bytes);
      this.#setLocal(run.start, bytes);
    }
    if (wholeEnd < end) await this.#writeNow(wholeEnd, zeroBlock.subarray(0, end - wholeEnd));
  }

  /** Blocks that are not local read as zeros in the local file: they are holes, or are looked at. */
  async #ensureHole(offset: number, length: number): Promise<void> {
    if (!this.#holesKnown) await this.#zeroFile(offset, length, true);
  }

  async #zeroFile(offset: number, length: number, mayTrim: boolean): Promise<void> {
    try {
      await this.#local.writeZeroes(offset, length, { mayTrim, fua: false });
    } catch (error) {
      this.#writeFailed(offset, length);
      throw error;
    }
  }

  async #readMixed(offset: number, target: Uint8Array): Promise<void> {
    const end = offset + target.length;
    const part = (start: number, stop: number): Uint8Array => target.subarray(start - offset, stop - offset);
    this.#imageReads += 1;
    try {
      // All are waited for even when one fails: nothing may write into the caller's buffer after the answer.
      const reads = await Promise.allSettled(
        this.#imageRanges(offset, end).map(({ start, end: stop }) => this.#readImage(start, part(start, stop))),
      );
      const failed = reads.find((read) => read.status === "rejected");
      // The journal may be gone because hydration just made it needless.
      if (failed !== undefined && !this.isLocal(offset, target.length)) throw failed.reason;
      for (const run of this.#runs(offset, end)) {
        if (run.local) await this.#local.read(run.start, part(run.start, run.end));
      }
    } finally {
      this.#imageReads -= 1;
      if (this.#imageReads === 0) for (const resolve of this.#onNoImageReads.splice(0)) resolve();
    }
  }

  async #readImage(offset: number, target: Uint8Array): Promise<void> {
    try {
      await this.#parts.image.read(offset, target);
    } catch (error) {
      throw new DiskError("EIO", `the journal could not be read for ${target.length} bytes at ${offset}`, {
        cause: error,
      });
    }
  }

  /** Does something for each run that is not local, with guests kept out of one piece of the range after the other. */
  async #underLock(offset: number, length: number, act: (run: ByteSpan) => Promise<void>): Promise<void> {
    for (let at = offset; at < offset + length; at += adoptPieceBytes) {
      this.#refuse();
      const end = Math.min(at + adoptPieceBytes, offset + length);
      const hold = await this.#lock.acquire(at, end - at, true);
      try {
        if (this.#promoted) return;
        for (const run of this.#runs(at, end)) if (!run.local) await act(run);
      } finally {
        this.#lock.release(hold);
      }
    }
  }

  /** What of the range must come from the image, short local gaps included. */
  #imageRanges(offset: number, end: number): ByteSpan[] {
    const ranges: ByteSpan[] = [];
    for (const run of this.#runs(offset, end)) {
      if (run.local) continue;
      const last = ranges.at(-1);
      if (last !== undefined && run.start - last.end < imageReadGapBytes) last.end = run.end;
      else ranges.push({ start: run.start, end: run.end });
    }
    return ranges;
  }

  /** The range cut where local and not local meet, in bytes; each cut is looked up when it is asked for. */
  *#runs(offset: number, end: number): Generator<ByteSpan & { local: boolean }> {
    const lastBlock = endBlock(end);
    for (let start = offset; start < end; ) {
      const block = firstBlock(start);
      const local = this.#bitmap.has(block);
      const stop = Math.min(this.#bitmap.runEnd(block, lastBlock) * blockBytes, end);
      yield { start, end: stop, local };
      start = stop;
    }
  }

  #setLocal(offset: number, length: number): void {
    this.#bitmap.set(firstBlock(offset), endBlock(offset + length));
    if (this.#bitmap.dirtyPages > dirtyBitmapPagesMax && this.#flushRunning === undefined) {
      // A failure is kept in #broken, where the next write or flush meets it.
      this.#sharedFlush().catch(() => undefined);
    }
  }

  #writeFailed(offset: number, length: number): void {
    if (this.#promoted || this.#bitmap.hasAll(firstBlock(offset), endBlock(offset + length))) return;
    this.#holesKnown = false;
    this.#failedWrites += 1;
  }

  #refuse(): void {
    if (this.#closing !== undefined) throw new DiskError("ESHUTDOWN", "the recovered disk is closed");
    if (this.#broken !== undefined) throw this.#broken;
  }

  /** Whoever asks while a flush runs shares the next one: that one begins after all that was written before the call. */
  #sharedFlush(): Promise<void> {
    if (this.#flushRunning === undefined) return this.#startFlush();
    const next = (): Promise<void> => {
      this.#flushWaiting = undefined;
      return this.#startFlush();
    };
    this.#flushWaiting ??= this.#flushRunning.then(next, next);
    return this.#flushWaiting;
  }

  #startFlush(): Promise<void> {
    const running = this.#flushNow().finally(() => {
      if (this.#flushRunning === running) this.#flushRunning = undefined;
    });
    this.#flushRunning = running;
    return running;
  }

  /** The kernel tells a lost write-back once; a later flush that succeeds would lie. So the first failure is for good, until the disk is opened again. */
  async #flushNow(): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      if (this.#promoted) await this.#local.flush();
      else await this.#bitmap.persist(() => this.#local.flush());
    } catch (error) {
      this.#broken = new DiskError("EIO", "a flush of the recovered disk failed, and what it lost is unknown", {
        cause: error,
      });
      throw this.#broken;
    }
  }

  async #noImageReads(): Promise<void> {
    if (this.#imageReads === 0) return;
    await new Promise<void>((resolve) => {
      this.#onNoImageReads.push(resolve);
    });
  }

  async #closeNow(): Promise<void> {
    const hold = await this.#lock.acquire(0, this.sizeBytes, true);
    await this.#noImageReads();
    try {
      await this.#sharedFlush();
      if (!this.#promoted && this.#holesKnown) await this.#parts.recordClean();
    } finally {
      this.#lock.release(hold);
      if (!this.#promoted) await this.#bitmap.close();
      await this.#local.close();
    }
  }
}

const zeroBlock = Buffer.alloc(blockBytes);

const blockStart = (offset: number): number => firstBlock(offset) * blockBytes;
const blockEnd = (offset: number): number => endBlock(offset) * blockBytes;
const firstBlock = (offset: number): number => Math.floor(offset / blockBytes);
const endBlock = (offset: number): number => Math.ceil(offset / blockBytes);
