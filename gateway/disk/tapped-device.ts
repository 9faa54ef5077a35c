/**
 * A disk whose writes are journaled: the order of R1, the honesty of R2 and R3.
 * Per write: lock the range -> inner disk -> its acknowledgement -> tap -> unlock -> return (the guest's reply). The network is never waited for.
 * While a barrier holds acknowledgements (R11) the range stays locked, so that no read shows what isn't acknowledged.
 */

import type { Tap } from "../tap/tap.ts";
import { AcknowledgementGate } from "./acknowledgement-gate.ts";
import type { BlockDevice } from "./block-device.ts";
import { ChunkSet } from "./chunk-set.ts";
import { flushGrainBytes, pieceBytes, repairBytesMax } from "./limits.ts";
import { type RangeHold, RangeLock } from "./range-lock.ts";

/** Tells a reader whether its range was written to since it began to look. */
export interface RangeWatch {
  /** True when a write, zero or trim that overlaps was in flight at the start or has been submitted since. */
  overlapped(): boolean;
  end(): void;
}

interface Watched {
  readonly start: number;
  readonly end: number;
  hit: boolean;
}

export class TappedDevice implements BlockDevice {
  readonly #inner: BlockDevice;
  readonly #tap: Tap;
  readonly #volume: number;
  readonly #onTapFault: (error: unknown) => void;
  readonly #gate: AcknowledgementGate;
  readonly #lock = new RangeLock();
  readonly #watches: Watched[] = [];
  /** Written and not yet covered by a good flush. */
  readonly #unflushed: ChunkSet;
  /** Being covered by the flush in flight. */
  readonly #flushing: ChunkSet;
  #flushWaiters: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  #flushRuns = false;
  readonly trim?: (offset: number, length: number) => void | Promise<void>;

  /** `onTapFault` is told when a tap breaks its promise not to throw: the guest's write succeeds, the range is distrusted, and the volume needs a sync. */
  constructor(
    inner: BlockDevice,
    tap: Tap,
    volume: number,
    onTapFault: (error: unknown) => void,
    gate = new AcknowledgementGate(),
  ) {
    this.#inner = inner;
    this.#tap = tap;
    this.#volume = volume;
    this.#onTapFault = onTapFault;
    this.#gate = gate;
    this.#unflushed = new ChunkSet(inner.sizeBytes, flushGrainBytes);
    this.#flushing = new ChunkSet(inner.sizeBytes, flushGrainBytes);
    if (inner.trim !== undefined) {
      const trim = inner.trim.bind(inner);
      this.trim = (offset, length) => this.#change(offset, length, undefined, () => trim(offset, length), false);
    }
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes;
  }

  get sectorBytes(): 512 | 4096 {
    return this.#inner.sectorBytes;
  }

  get readOnly(): boolean {
    return this.#inner.readOnly;
  }

  read(offset: number, target: Uint8Array): void | Promise<void> {
    if (!this.#lock.isFree(offset, target.length, false)) {
      return this.#readLater(offset, target);
    }
    const pending = this.#inner.read(offset, target);
    if (pending instanceof Promise) {
      return this.#readDone(this.#lock.hold(offset, target.length, false), pending);
    }
  }

  write(offset: number, source: Uint8Array, fua: boolean): void | Promise<void> {
    return this.#change(offset, source.length, source, undefined, fua);
  }

  writeZeroes(
    offset: number,
    length: number,
    options: { readonly mayTrim: boolean; readonly fua: boolean },
  ): void | Promise<void> {
    const inner = { mayTrim: options.mayTrim, fua: false };
    return this.#change(offset, length, undefined, () => this.#inner.writeZeroes(offset, length, inner), options.fua);
  }

  /** Flushes that wait for the one in flight share the next one: a flush covers all that was acknowledged before it began. */
  flush(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#flushWaiters.push({ resolve, reject });
      if (!this.#flushRuns) {
        void this.#runFlushes();
      }
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /**
   * Reads a range while no write to it can be in flight, and keeps writes out until `use` is done (R14's last resort). Throws `DiskError`.
   * What `use` appends to the journal therefore stands in the right order to every write of the range.
   */
  async lockedRead<Result>(
    offset: number,
    length: number,
    use: (bytes: Uint8Array) => Result | Promise<Result>,
  ): Promise<Result> {
    const hold = await this.#lock.acquire(offset, length, false);
    try {
      const bytes = Buffer.allocUnsafe(length);
      await this.#inner.read(offset, bytes);
      return await use(bytes);
    } finally {
      this.#lock.release(hold);
    }
  }

  /** Begins to watch a range for writes; costs the guest one comparison a write while it lasts. */
  watch(offset: number, length: number): RangeWatch {
    const watched: Watched = { start: offset, end: offset + length, hit: this.#lock.hasWriter(offset, length) };
    this.#watches.push(watched);
    return {
      overlapped: () => watched.hit,
      end: () => {
        const at = this.#watches.indexOf(watched);
        if (at >= 0) {
          this.#watches.splice(at, 1);
        }
      },
    };
  }

  async #readLater(offset: number, target: Uint8Array): Promise<void> {
    const hold = await this.#lock.acquire(offset, target.length, false);
    try {
      await this.#inner.read(offset, target);
    } finally {
      this.#lock.release(hold);
    }
  }

  async #readDone(hold: RangeHold, pending: Promise<void>): Promise<void> {
    try {
      await pending;
    } finally {
      this.#lock.release(hold);
    }
  }

  /** A write of `source`, or, without one, a change by `zero` after which the range reads as zeros. FUA is a flush of ours, so that its failure is seen. */
  #change(
    offset: number,
    length: number,
    source: Uint8Array | undefined,
    zero: (() => void | Promise<void>) | undefined,
    fua: boolean,
  ): void | Promise<void> {
    if (this.#watches.length > 0) {
      this.#notifyWatches(offset, length);
    }
    if (!this.#lock.isFree(offset, length, true)) {
      return this.#changeLater(offset, length, source, zero, fua);
    }
    let pending: void | Promise<void>;
    try {
      pending = source === undefined ? zero?.() : this.#inner.write(offset, source, false);
    } catch (error) {
      return this.#repair(this.#lock.hold(offset, length, true), error);
    }
    if (pending instanceof Promise) {
      return this.#changeDone(this.#lock.hold(offset, length, true), pending, source, fua);
    }
    this.#append(offset, length, source);
    if (this.#gate.held) {
      return this.#changeHeld(this.#lock.hold(offset, length, true), fua);
    }
    if (fua) {
      return this.flush();
    }
  }

  async #changeHeld(hold: RangeHold, fua: boolean): Promise<void> {
    await this.#releaseAcknowledged(hold);
    if (fua) {
      await this.flush();
    }
  }

  /** Unlocks a range once what was done to it may be told. */
  async #releaseAcknowledged(hold: RangeHold): Promise<void> {
    if (this.#gate.held) {
      await this.#gate.passed();
    }
    this.#lock.release(hold);
  }

  async #changeLater(
    offset: number,
    length: number,
    source: Uint8Array | undefined,
    zero: (() => void | Promise<void>) | undefined,
    fua: boolean,
  ): Promise<void> {
    const hold = await this.#lock.acquire(offset, length, true);
    let pending: void | Promise<void>;
    try {
      pending = source === undefined ? zero?.() : this.#inner.write(offset, source, false);
    } catch (error) {
      return this.#repair(hold, error);
    }
    await this.#changeDone(hold, pending, source, fua);
  }

  async #changeDone(
    hold: RangeHold,
    pending: void | Promise<void>,
    source: Uint8Array | undefined,
    fua: boolean,
  ): Promise<void> {
    try {
      await pending;
    } catch (error) {
      return this.#repair(hold, error);
    }
    try {
      this.#append(hold.start, hold.end - hold.start, source);
    } finally {
      await this.#releaseAcknowledged(hold);
    }
    if (fua) {
      await this.flush();
    }
  }

  #append(offset: number, length: number, source: Uint8Array | undefined): void {
    this.#unflushed.add(offset, length);
    try {
      if (source === undefined) {
        this.#tap.zero(this.#volume, offset, length);
      } else {
        this.#tap.write(this.#volume, offset, source);
      }
    } catch (error) {
      this.#onTapFault(error);
      this.#distrust(offset, length);
    }
  }

  #distrust(offset: number, length: number): void {
    try {
      this.#tap.distrust(this.#volume, offset, length);
    } catch (error) {
      this.#onTapFault(error);
    }
  }

  /** R2: what a failed write left on the disk is unknown, so it is read again and journaled, or distrusted; then the guest gets its error. */
  async #repair(hold: RangeHold, cause: unknown): Promise<never> {
    const length = hold.end - hold.start;
    this.#unflushed.add(hold.start, length);
    try {
      if (length > repairBytesMax) {
        this.#distrust(hold.start, length);
      } else {
        for (let offset = hold.start; offset < hold.end; offset += pieceBytes) {
          await this.#appendAsFound(offset, Math.min(pieceBytes, hold.end - offset));
        }
      }
    } finally {
      await this.#releaseAcknowledged(hold);
    }
    throw cause;
  }

  async #appendAsFound(offset: number, length: number): Promise<void> {
    const found = Buffer.allocUnsafe(length);
    try {
      await this.#inner.read(offset, found);
    } catch {
      // Unreadable: whatever the reason, the sync has to settle it. The guest gets the error of its write.
      this.#distrust(offset, length);
      return;
    }
    this.#append(offset, length, found);
  }

  #notifyWatches(offset: number, length: number): void {
    for (const watched of this.#watches) {
      if (watched.start < offset + length && offset < watched.end) {
        watched.hit = true;
      }
    }
  }

  async #runFlushes(): Promise<void> {
    this.#flushRuns = true;
    while (this.#flushWaiters.length > 0) {
      const waiters = this.#flushWaiters;
      this.#flushWaiters = [];
      this.#flushing.addAll(this.#unflushed);
      this.#unflushed.clear();
      try {
        await this.#inner.flush();
        this.#flushing.clear();
      } catch (error) {
        this.#flushFailed();
        for (const waiter of waiters) {
          waiter.reject(error);
        }
        continue;
      }
      for (const waiter of waiters) {
        waiter.resolve();
      }
    }
    this.#flushRuns = false;
  }

  /** R2: the kernel reports a lost write-back once and to one flush; from then on nothing written since the last good flush is known. */
  #flushFailed(): void {
    this.#unflushed.addAll(this.#flushing);
    this.#flushing.clear();
    this.#unflushed.forEachRun((offset, length) => this.#distrust(offset, length));
  }
}
