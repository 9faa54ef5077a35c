import { beforeEach, describe, expect, it } from "vitest";
import { NoCheckpoint } from "#core/errors.ts";
import { extentKinds } from "#core/journal/batch.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { segmentBytes, segmentRecordsMax } from "../limits.ts";
import { extentsOf, type SealedSegment } from "./segment.ts";
import { SessionLog } from "./session-log.ts";
import type { SessionStart } from "./session-types.ts";

const MiB = 2 ** 20;
const sizes = [64 * MiB, 4 * MiB];

describe("session log", () => {
  let clock: VirtualClock;
  let log: SessionLog;
  let sealed: SealedSegment[];

  beforeEach(() => {
    clock = new VirtualClock();
    log = new SessionLog({ sizes, bufferBytes: 48 * MiB, clock });
    sealed = [];
  });
  const attach = (start: SessionStart = { kind: "continues" }): void =>
    log.attach({ term: 2, session: 5, journalVolumes: [11, 12] }, { push: (segment) => sealed.push(segment) }, start);
  const events = (): string[] => sealed.flatMap((segment) => segment.events.map((event) => event.kind));
  const acknowledgeAll = (): void => {
    for (const segment of sealed) {
      if (segment.batch <= (log.backlog?.acknowledgedBatch ?? -1)) continue;
      log.encoded(segment.batch, 100, segment.buffers, new Uint8Array(32).fill(segment.batch));
      log.acknowledged(segment.batch);
    }
  };

  it("begins with a checkpoint of its own when the disks continue", () => {
    attach();
    expect(events()).toEqual(["marker"]);
    log.flush();
    expect(sealed).toHaveLength(1);
    acknowledgeAll();
    expect(log.idle).toBe(true);
  });

  it("splits a long write over records and batches, the bytes in order, with no marker between", () => {
    attach();
    const bytes = Buffer.alloc(9 * MiB + 512, "farshore");
    log.write(0, 4096, bytes);
    log.flush();
    const parts = sealed.slice(1).flatMap((segment) => {
      const { count, offset, length, payloadOffset, volume } = extentsOf(segment);
      const payload = Buffer.from(segment.buffers.payload);
      expect(segment.payloadBytes).toBeLessThanOrEqual(segmentBytes);
      return Array.from({ length: count }, (_, index) => {
        expect(volume[index]).toBe(11);
        const start = payloadOffset[index] ?? 0;
        return { offset: offset[index], bytes: payload.subarray(start, start + (length[index] ?? 0)) };
      });
    });
    expect(Buffer.concat(parts.map((part) => part.bytes)).equals(bytes)).toBe(true);
    expect(parts.every((part) => part.bytes.length <= 256 * 1024)).toBe(true);
    expect(parts[0]?.offset).toBe(4096);
    expect(sealed.slice(1).map((segment) => segment.events.length)).toEqual([0, 0, 1]);
    expect(sealed.map((segment) => segment.firstSequence)).toEqual([1, 2, 18, 34]);
  });

  it("copies: a buffer changed after the call does not change the journal", () => {
    attach();
    const bytes = Buffer.alloc(512, 1);
    log.write(1, 0, bytes);
    bytes.fill(2);
    log.flush();
    expect(new Uint8Array(sealed[1]?.buffers.payload ?? new ArrayBuffer(0))[0]).toBe(1);
  });

  it("keeps zeros without bytes, split at a page", () => {
    attach();
    log.zero(0, 0, 2 ** 30 + 4096);
    log.flush();
    const segment = sealed[1];
    if (segment === undefined) throw new Error("no segment");
    const { count, kind, length } = extentsOf(segment);
    expect([count, segment.payloadBytes]).toEqual([2, 0]);
    expect([...kind.subarray(0, 2)]).toEqual([extentKinds.zero, extentKinds.zero]);
    expect([...length.subarray(0, 2)]).toEqual([2 ** 30, 4096]);
  });

  it("cuts a batch of many small records", () => {
    attach();
    const sector = Buffer.alloc(512, 3);
    for (let index = 0; index < segmentRecordsMax + 5; index += 1) {
      if (index % 2 === 0) log.zero(0, 0, 512);
      else log.write(0, 512, sector);
    }
    log.flush();
    expect(sealed.map((segment) => segment.extents)).toEqual([0, segmentRecordsMax, 5]);
  });

  it("makes a tagged checkpoint at once, and none while something syncs", () => {
    attach();
    log.write(0, 0, Buffer.alloc(512, 1));
    expect(log.tag("before the upgrade")).toEqual({ session: 5, sequence: 3 });
    expect(sealed[1]?.events).toEqual([{ kind: "marker", sequence: 3, time: clock.now(), tag: "before the upgrade" }]);
    log.distrust(1, 0, 512);
    expect(() => log.tag("again")).toThrow(NoCheckpoint);
    log.write(0, 0, Buffer.alloc(512, 2));
    log.flush();
    expect(events()).toEqual(["marker", "marker", "sync-begin"]);
    expect(log.mode).toBe("bitmap-sync");
  });

  it("settles a chunk only as of the suspicion it was compared under", () => {
    attach({ kind: "sync", label: "delta-sync", basis: { kind: "image", upTo: { session: 4, sequence: 9 } } });
    expect(log.mode).toBe("delta-sync");
    const [track] = log.tracks;
    if (track === undefined) throw new Error("no track");
    const bytes = Buffer.alloc(512 * 1024, 5);
    const pieces = [{ start: 0, length: 64 * 1024, zero: false }];
    const before = log.lastPosition?.sequence;
    const { revision } = track;
    log.distrust(0, 0, 512);
    expect(log.settleChunk(track, 0, revision, 0, bytes, pieces)).toBe(false);
    expect(log.lastPosition?.sequence).toBe(before);
    expect(track.basis).toEqual({ kind: "image", upTo: { session: 5, sequence: before } });
    expect(log.settleChunk(track, 0, track.revision, 0, bytes, pieces)).toBe(true);
    expect(track.suspects.has(0)).toBe(false);
    expect(log.endSync(track)).toBe(false);
  });

  it("goes dirty at the bound without a word to the guest, and syncs what it missed", () => {
    attach();
    for (let wrote = 0; wrote < 60; wrote += 1) log.write(0, wrote * MiB, Buffer.alloc(MiB, wrote));
    expect(log.mode).toBe("dirty");
    expect(log.backlog?.bytes).toBeLessThanOrEqual(48 * MiB);
    const missed = log.tracks[0]?.suspects.count ?? 0;
    expect(missed).toBeGreaterThan(50);
    log.flush();
    expect(events()).toEqual(["marker"]);
    acknowledgeAll();
    expect(log.mode).toBe("bitmap-sync");
    expect(log.tracks[0]?.suspects.count).toBe(missed);
    expect(log.tracks[1]?.syncing).toBe(false);
    // From here on writes are journaled again.
    log.write(0, 0, Buffer.alloc(512, 9));
    expect(log.tracks[0]?.suspects.count).toBe(missed);
    log.cut();
    expect(events()).toEqual(["marker", "sync-begin"]);
  });

  it("marks only while paused, and only what was written", () => {
    attach();
    log.setPaused(true);
    expect(log.mode).toBe("paused");
    log.setPaused(false);
    expect(log.mode).toBe("replicating");
    log.setPaused(true);
    log.write(1, MiB, Buffer.alloc(512, 1));
    log.setPaused(false);
    expect(log.mode).toBe("bitmap-sync");
    expect(log.tracks.map((track) => track.suspects.count)).toEqual([0, 1]);
  });

  it("suspects everything when the session is lost, and nothing is journaled once it is fenced", () => {
    attach();
    log.detach();
    log.write(0, 0, Buffer.alloc(512, 1));
    expect(log.mode).toBe("no-session");
    attach({ kind: "sync", label: "delta-sync", basis: { kind: "image", upTo: { session: 5, sequence: 1 } } });
    expect(log.tracks.map((track) => track.suspects.count)).toEqual([128, 8]);
    log.fence();
    const before = sealed.length;
    log.write(0, 0, Buffer.alloc(512, 1));
    log.flush();
    expect(sealed).toHaveLength(before);
    expect(log.mode).toBe("fenced");
  });

  it("closes with a marker and a close record, or not at all while something is missing", () => {
    attach();
    log.write(0, 0, Buffer.alloc(512, 1));
    expect(log.close()).toBe(true);
    expect(events()).toEqual(["marker", "marker", "close"]);
    log = new SessionLog({ sizes, bufferBytes: 48 * MiB, clock });
    sealed = [];
    attach({ kind: "sync", label: "initial-sync", basis: { kind: "empty" } });
    log.write(0, 0, Buffer.alloc(512, 1));
    expect(log.close()).toBe(false);
    expect(events()).toEqual(["sync-begin", "sync-begin"]);
  });

  describe("final", () => {
    const operationId = "01k3zper4t0000000000000001";
    const place = { term: 2, session: 5, journalVolumes: [11, 12] };
    const sink = { push: (segment: SealedSegment) => sealed.push(segment) };

    it("ends the session with a checkpoint and FINAL, and the next one goes on from there", () => {
      attach();
      log.write(0, 0, Buffer.alloc(512, 1));
      expect(log.final(operationId)).toEqual({ session: 5, sequence: 4 });
      expect(events()).toEqual(["marker", "marker", "final"]);
      expect(log.mode).toBe("closed");
      expect(log.final(operationId)).toBeUndefined();
      acknowledgeAll();
      expect(log.head).toEqual({ batch: 2, hash: new Uint8Array(32).fill(2) });
      log.leave();
      sealed = [];
      log.attach({ ...place, session: 6 }, sink, { kind: "continues" });
      expect(events()).toEqual(["marker"]);
      expect(log.whole).toBe(true);
    });

    it("is none while something is missing, and what the site never got is suspect afterwards", () => {
      attach({ kind: "sync", label: "initial-sync", basis: { kind: "empty" } });
      expect(log.final(operationId)).toBeUndefined();
      expect(log.mode).toBe("initial-sync");
      log.detach();
      sealed = [];
      log = new SessionLog({ sizes, bufferBytes: 48 * MiB, clock });
      attach();
      log.final(operationId);
      log.leave();
      log.attach({ ...place, session: 6 }, sink, { kind: "continues" });
      expect(log.syncing).toBe(true);
    });

    it("of a coordinator stands behind a barrier that names the others' FINALs; theirs have no checkpoint", () => {
      log.attach({ ...place, checkpoints: "barriers" }, sink, { kind: "continues" });
      log.write(0, 0, Buffer.alloc(512, 1));
      log.final(operationId, [{ session: 7, sequence: 9 }]);
      expect(events()).toEqual(["hold", "barrier", "final"]);
      const barrier = sealed.flatMap((segment) => segment.events).find((event) => event.kind === "barrier");
      expect(barrier).toMatchObject({
        vector: [
          { session: 5, sequence: 2 },
          { session: 7, sequence: 9 },
        ],
      });
      log = new SessionLog({ sizes, bufferBytes: 48 * MiB, clock });
      sealed = [];
      log.attach({ ...place, checkpoints: "barriers" }, sink, { kind: "continues" });
      log.final(operationId);
      expect(events()).toEqual(["final"]);
    });
  });

  it("tells how old the oldest unacknowledged record is", () => {
    attach();
    acknowledgeAll();
    expect(log.statistics).toMatchObject({ writes: 0, lagMs: 0 });
    log.write(0, 0, Buffer.alloc(512, 1));
    log.zero(0, 0, 4096);
    expect(log.statistics).toMatchObject({ writes: 2, writtenBytes: 4608 });
    expect(log.idle).toBe(false);
  });
});
