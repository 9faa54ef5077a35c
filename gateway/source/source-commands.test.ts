import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { runHook } from "../control/hooks.ts";
import { StateDirectory } from "../state/state-directory.ts";
import type { SealedSegment } from "../tap/segment.ts";
import { SessionLog } from "../tap/session-log.ts";
import { sourceHandlers } from "./source-commands.ts";

const vpgId = idSchema.parse("01k3vpg0000000000000000001");
let folder = "";
let state: StateDirectory;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-commands-"));
  state = await StateDirectory.open(folder);
});
afterEach(async () => {
  await state.close();
  rmSync(folder, { recursive: true });
});

it.each(["markers", "barriers"] as const)(
  "a shutdown ships the last writes at once, also where %s make the checkpoints",
  async (checkpoints) => {
    const clock = new VirtualClock();
    const sessionLog = new SessionLog({ sizes: [2 ** 20], bufferBytes: 48 * 2 ** 20, clock });
    const push = ({ batch, buffers }: SealedSegment): void =>
      queueMicrotask(() => {
        sessionLog.encoded(batch, 100, buffers, new Uint8Array(32));
        sessionLog.acknowledged(batch);
      });
    sessionLog.attach({ term: 1, session: 1, journalVolumes: [1], checkpoints }, { push }, { kind: "continues" });
    const handlers = sourceHandlers({
      ...{
        vpgName: "shop",
        vmNames: () => [],
        urisOf: () => new Map(),
        vpgId: () => vpgId,
        hooks: new Map(),
        directory: folder,
        state,
        sessionLog,
      },
      ...{ barrier: { makesCheckpoints: false, asked: () => Promise.reject(new Error("nobody asks")) } },
      ...{ clock, log: new QuietLog(), runHook, flushDisks: () => Promise.resolve() },
      ...{
        hold: () => Promise.resolve(),
        release: () => Promise.resolve(),
        closedBy: () => undefined,
        verify: () => Promise.resolve({}),
        scrub: { ask: () => undefined },
        sync: { planner: undefined, figures: { differingChunks: 0, shippedBytes: 0 } },
      },
      closing: { close: () => Promise.resolve({ final: null }), open: () => Promise.resolve({}) },
    });
    // A barrier of this interval has held; what is written afterwards stands in a segment that is open.
    sessionLog.hold();
    sessionLog.write(0, 0, Buffer.alloc(512, 1));
    const operationId = idSchema.parse("01k3zper4t0000000000000001");
    const asked = { operationId, vpgId, vpgName: "shop", vms: [] };
    const body = { ...asked, kind: "shutdown-source", policy: "graceful", graceMs: 1000 } as const;
    const context = { commandId: "c", signal: AbortSignal.timeout(2000), progress: () => undefined };
    expect(await handlers["shutdown-source"]?.(body, context)).toMatchObject({ durable: true });
  },
);
