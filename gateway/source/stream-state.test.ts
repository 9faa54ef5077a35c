import { expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { SyncRunner } from "../sync/sync-runner.ts";
import type { SyncSource } from "../sync/volume-sync.ts";
import { SessionLog } from "../tap/session-log.ts";
import { streamState } from "./stream-state.ts";

const GiB = 2 ** 30;
const vpgId = idSchema.parse("01k3vpg0000000000000000001");
const requestId = idSchema.parse("01k3n0nce00000000000000001");
const nobody = (): Promise<never> => Promise.reject(new Error("nobody is asked meanwhile"));

it("asks for a delta-sync from the beginning of a large sync on, until that is there", async () => {
  const clock = new VirtualClock();
  const log = new SessionLog({ sizes: [8 * GiB], bufferBytes: 96 * 2 ** 20, clock });
  const source: SyncSource = {
    sizeBytes: 8 * GiB,
    read: nobody,
    watch: () => ({ overlapped: () => false, end: () => undefined }),
    lockedRead: nobody,
  };
  const sync = new SyncRunner({
    ...{ log, sources: [source], hashes: nobody, clock, events: new QuietLog() },
    openHasher: () => ({ hash: nobody, close: async () => undefined }),
    planSite: { newRequestId: () => requestId, putPageHashes: nobody, pageWants: nobody },
  });
  const asked = () =>
    streamState({
      ...{ vpgId, term: 1, closed: null, log, sync, barrierProblem: undefined, throttle: undefined },
      ...{ configurationProblem: null, recoveredDisks: false },
      scrub: {
        ...{ running: false, comparedChunks: 0, skippedChunks: 0, totalChunks: 0, ageMs: null },
        ...{ bytesPerSecond: 0, differing: 0, mended: 0, findings: [] },
      },
    }).syncRequestId;
  log.attach({ term: 1, session: 1, journalVolumes: [1] }, { push: () => undefined }, { kind: "continues" });
  sync.start();
  expect(asked()).toBeUndefined();
  log.distrust(0, 0, 5 * GiB);
  await clock.settle();
  expect(asked()).toBe(requestId);
  sync.planner?.begin(idSchema.parse("01k3zper4t0000000000000001"), vpgId, false);
  expect(asked()).toBeUndefined();
  await sync.stop();
});
