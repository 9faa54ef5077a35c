/** Disks, tap, shipper and sync of one VPG in memory, for tests of what a sync settles. */
import { randomBytes } from "node:crypto";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { TappedDevice } from "../../gateway/disk/tapped-device.ts";
import { ShipEngine } from "../../gateway/ship/engine.ts";
import type { PlanSite } from "../../gateway/sync/planner.ts";
import { SyncRunner } from "../../gateway/sync/sync-runner.ts";
import type { SealedSegment } from "../../gateway/tap/segment.ts";
import { SessionLog } from "../../gateway/tap/session-log.ts";
import type { SegmentSink, SessionStart } from "../../gateway/tap/session-types.ts";
import { FaultyDevice } from "./faulty-device.ts";
import { MemoryDevice } from "./memory-device.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { QuietLog } from "./quiet-log.ts";
import { SeededRandom } from "./seeded-random.ts";

const MiB = 2 ** 20;
const sizes = [12 * MiB + 512, 5 * MiB];
export const rigBufferBytes = 42 * MiB;

/** Disks, tap, shipper and sync of one VPG without process, network and worker threads for shipping. */
export class SyncRig {
  readonly random: SeededRandom;
  readonly disks: readonly MemoryDevice[];
  readonly faulty: readonly FaultyDevice[];
  readonly tapped: readonly TappedDevice[];
  readonly log: SessionLog;
  readonly journal: MemoryJournal;
  readonly runner: SyncRunner;
  readonly engine: ShipEngine;
  /** Sequence of each marker, and the disks as they were then. */
  readonly markers = new Map<number, readonly Buffer[]>();
  peakBytes = 0;
  stopped: string | undefined;

  /** `directMax`: of the runner; with few, chunks are compared as wholes first. */
  constructor(
    seed: number,
    start: SessionStart["kind"],
    planSite?: (journal: MemoryJournal) => PlanSite,
    directMax?: number,
  ) {
    this.random = new SeededRandom(seed);
    this.disks = sizes.map((size) => new MemoryDevice(size));
    for (const disk of this.disks)
      for (let at = 0; at + MiB < disk.sizeBytes; at += 3 * MiB) disk.image.set(this.bytes(70_000), at);
    const base = this.disks.map((disk) => Buffer.from(disk.image));
    // What was written while nobody looked.
    if (start === "sync") for (const disk of this.disks) disk.image.fill(7, MiB, MiB + 4096);
    this.faulty = this.disks.map((disk, index) => new FaultyDevice(disk, seed + index));
    const clock = new SystemClock();
    const random = { bytes: (length: number) => this.random.bytes(length) };
    this.log = new SessionLog({ sizes, bufferBytes: rigBufferBytes, clock });
    this.tapped = this.faulty.map((disk, index) => new TappedDevice(disk, this.log, index, () => undefined));
    this.journal = new MemoryJournal(base, new SeededRandom(seed + 77));
    this.engine = new ShipEngine({
      place: { vpgId: "01k3vpg0000000000000000001", term: 1, session: 1, configRevision: 1 },
      upload: this.journal.upload,
      events: {
        encoded: (...encoded) => {
          this.log.encoded(...encoded);
          this.peakBytes = Math.max(this.peakBytes, this.log.backlog?.bytes ?? 0);
        },
        acknowledged: (batch) => this.log.acknowledged(batch),
        stopped: (error) => {
          this.stopped = error.name;
        },
        troubled: () => undefined,
      },
      // Waits are turns of the event loop: what is tested is order, not time.
      clock: { now: () => clock.now(), monotonic: () => clock.monotonic(), sleep: () => this.turn() },
      random,
    });
    this.runner = new SyncRunner({
      log: this.log,
      sources: this.tapped,
      hashes: async ({ journalVolume, upTo, blocksOf }) =>
        this.journal.hashes(journalVolume, upTo.session === 0 ? 0 : upTo.sequence, blocksOf),
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        // What is waited for in vain in any case is waited for.
        sleep: (ms, signal) => (ms > 10_000 ? clock.sleep(ms, signal) : this.turn()),
      },
      events: new QuietLog(),
      directMax,
      ...(planSite === undefined ? {} : { planSite: planSite(this.journal) }),
    });
    const sink: SegmentSink = { push: (segment) => this.#push(segment) };
    this.runner.start();
    this.log.attach(
      { term: 1, session: 1, journalVolumes: [1, 2] },
      sink,
      start === "continues"
        ? { kind: "continues" }
        : { kind: "sync", label: "delta-sync", basis: { kind: "image", upTo: { session: 0, sequence: 0 } } },
    );
  }

  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** At times what does not compress. */
  bytes(length: number): Buffer {
    return this.random.chance(0.5) ? randomBytes(length) : Buffer.alloc(length, this.random.bytes(61));
  }

  /** One guest request at a random place; may fail when the disk does. */
  async request(): Promise<void> {
    const volume = this.random.below(2);
    const device = this.tapped[volume];
    if (device === undefined) throw new Error("no device");
    const most = this.random.chance(0.1) ? 3 * MiB : 64 * 1024;
    const sectors = 1 + this.random.below(most / 512);
    const offset = 512 * this.random.below(device.sizeBytes / 512 - sectors + 1);
    const length = sectors * 512;
    if (this.random.chance(0.2)) await device.writeZeroes(offset, length, { mayTrim: true, fua: false });
    else await device.write(offset, this.bytes(length), false);
  }

  /** Resolves when all is journaled and acknowledged and a last marker stands. */
  async settle(): Promise<void> {
    Object.assign(this.journal.faults, { down: false, fails: 0, losesReply: 0 });
    for (const disk of this.faulty)
      Object.assign(disk.faults, { readFails: 0, writeFails: 0, writeIsPartial: 0, flushFails: 0 });
    this.log.setPaused(false);
    const whole = (): boolean => this.log.journaling && !this.log.syncing;
    await this.log.changes.until(whole, AbortSignal.timeout(20_000));
    this.log.flush();
    await this.log.changes.until(() => this.log.idle, AbortSignal.timeout(20_000));
  }

  async stop(): Promise<void> {
    this.engine.stop();
    await this.runner.stop();
  }

  #push(segment: SealedSegment): void {
    this.peakBytes = Math.max(this.peakBytes, this.log.backlog?.bytes ?? 0);
    const marker = segment.events.find((event) => event.kind === "marker");
    if (marker !== undefined)
      this.markers.set(
        marker.sequence,
        this.disks.map((disk) => Buffer.from(disk.image)),
      );
    this.engine.push(segment);
  }
}
