import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Id, idSchema } from "#core/ids.ts";
import { hashBytes } from "#core/sync/limits.ts";
import { encodePageWants } from "#core/sync/page-object.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { machineAwaitedMs } from "../limits.ts";
import { SessionLog } from "../tap/session-log.ts";
import type { AwaitedPage } from "./planned-page.ts";
import { Planner } from "./planner.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const id = (number: number): Id => idSchema.parse(`01k3s1te${String(number).padStart(18, "0")}`);
const vpgId = id(200);

describe("a delta-sync is asked for", () => {
  let clock: VirtualClock;
  let log: SessionLog;
  let planner: Planner;
  let settled: number[];
  let wants: (page: AwaitedPage) => Promise<Uint8Array>;
  let stop = new AbortController();
  const page = () => {
    const [track] = log.tracks;
    return track === undefined ? undefined : planner.taskOf(track, 0);
  };
  /** What a sync that is over leaves. */
  const settleAll = (): void => {
    for (const track of log.tracks) {
      for (let chunk = track.suspects.next(0); chunk >= 0; chunk = track.suspects.next(chunk)) {
        track.suspects.delete(chunk);
      }
      log.endSync(track);
    }
  };

  beforeEach(() => {
    clock = new VirtualClock();
    stop = new AbortController();
    log = new SessionLog({ sizes: [8 * GiB], bufferBytes: 96 * 2 ** 20, clock });
    let asked = 0;
    settled = [];
    wants = () => Promise.reject(new Error("no site"));
    const newRequestId = (): Id => {
      asked += 1;
      return id(asked);
    };
    planner = new Planner({
      ...{ log, clock, events: new QuietLog(), settled: (_, chunk) => void settled.push(chunk), stop: stop.signal },
      site: { newRequestId, putPageHashes: async () => undefined, pageWants: (page) => wants(page) },
    });
    log.attach({ term: 1, session: 1, journalVolumes: [1] }, { push: () => undefined }, { kind: "continues" });
  });
  afterEach(() => stop.abort(new Error("over")));

  it("by what more than four pages overflowed of, for a while, and is waited for that long", async () => {
    log.setPaused(true);
    log.zero(0, 0, 5 * GiB);
    log.setPaused(false);
    expect(log.mode).toBe("bitmap-sync");
    planner.expect();
    expect([planner.requestId, page()]).toEqual([id(1), "wait"]);
    await clock.advance(machineAwaitedMs);
    expect([planner.requestId, page()]).toEqual([undefined, "alone"]);
  });

  it("no more once it has begun, and again by the next overflow, whatever the last one left", async () => {
    for (const [round, requestId] of [id(1), id(2)].entries()) {
      log.distrust(0, 0, 5 * GiB);
      planner.expect();
      expect([planner.requestId, page()]).toEqual([requestId, "wait"]);
      planner.begin(id(100 + round), vpgId, false);
      expect([planner.requestId, page()]).toEqual([undefined, "hash"]);
      // A sync that runs beside it asks for none.
      planner.expect();
      expect(planner.requestId).toBeUndefined();
      const [track] = log.tracks;
      for (let number = 0; track !== undefined && number < 5; number += 1) planner.leave(track, number);
      await planner.settle(id(100 + round), stop.signal);
      settleAll();
    }
  });

  it("by no few pages, and by no few chunks of many pages: alone it is as quick", () => {
    log.distrust(0, 0, 3 * GiB);
    for (let at = 0; at < 8; at += 1) log.distrust(0, at * GiB, 512);
    planner.expect();
    expect([planner.requestId, page()]).toEqual([undefined, "alone"]);
  });

  it("and once planned tells of each chunk that it found equal, and of no other", async () => {
    log.distrust(0, GiB, 8 * MiB);
    const [track] = log.tracks;
    if (track === undefined) throw new Error("no track");
    planner.begin(id(100), vpgId, false);
    const { revision } = track;
    const upTo = { session: 1, sequence: 0 };
    const [sizeBytes, chunks] = [8 * GiB, [0, 1, 2, 3]];
    await planner.hashed(track, 1, { sizeBytes, upTo, revision, chunks, hashes: new Uint8Array(4 * hashBytes) });
    await planner.allSent(id(100), () => undefined, stop.signal);
    wants = async ({ place, hashesSha256 }) => encodePageWants({ ...place, hashesSha256, chunks: [1, 3] });
    await planner.settle(id(100), stop.signal);
    expect(settled).toEqual([2048, 2050]);
  });

  it("in the session it was asked for in, and no other", () => {
    log.distrust(0, 0, 5 * GiB);
    planner.expect();
    expect(planner.requestId).toBe(id(1));
    log.detach();
    expect(planner.requestId).toBeUndefined();
  });
});
