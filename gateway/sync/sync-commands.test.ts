import { expect, it } from "vitest";
import { standsBehind } from "#core/delta-sync/verify.ts";
import { idSchema } from "#core/ids.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import { shipResultSchema } from "#core/protection/command.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { sessionAwaitedMs } from "../limits.ts";
import type { SealedSegment } from "../tap/segment.ts";
import { SessionLog } from "../tap/session-log.ts";
import { Planner } from "./planner.ts";
import { syncHandlers } from "./sync-commands.ts";

const MiB = 2 ** 20;
const vpgId = idSchema.parse("01k3vpg0000000000000000001");
const operationId = idSchema.parse("01k3zper4t0000000000000001");

/** One of two source gateways whose checkpoints are barriers; its site has at once what it seals. Session 0: it has none. */
function gateway(session: number) {
  const clock = new VirtualClock();
  const log = new SessionLog({ sizes: [MiB], bufferBytes: 48 * MiB, clock });
  const push = (segment: SealedSegment): void => {
    queueMicrotask(() => {
      log.encoded(segment.batch, 100, segment.buffers, new Uint8Array(32));
      log.acknowledged(segment.batch);
    });
  };
  const place = { term: 1, session, journalVolumes: [session], checkpoints: "barriers" as const };
  if (session > 0) log.attach(place, { push }, { kind: "continues" });
  const nobody = (): Promise<never> => Promise.reject(new Error("nothing is planned"));
  const planner = new Planner({
    ...{ log, clock, events: new QuietLog(), settled: () => undefined, stop: AbortSignal.timeout(5000) },
    site: { newRequestId: () => operationId, putPageHashes: nobody, pageWants: nobody },
  });
  const sync = { planner, figures: { differingChunks: 0, shippedBytes: 0 } };
  const handlers = syncHandlers({ vpgName: "shop", sessionLog: log, sync, clock });
  const context = { commandId: "c", signal: AbortSignal.timeout(5000), progress: () => undefined };
  const ship = async (): Promise<Position> => {
    const body = { kind: "ship-wanted", operationId, vpgId, vpgName: "shop" } as const;
    return shipResultSchema.parse(await handlers["ship-wanted"]?.(body, context)).end;
  };
  return { clock, log, ship };
}

it("names an end that the barrier before it stands behind, while nothing is written anywhere: no other one comes", async () => {
  const [coordinator, other] = [gateway(1), gateway(2)];
  const barrier = () => {
    const vector = [coordinator.log.hold(), other.log.hold()].flatMap((held) => held ?? []).sort(comparePositions);
    const position = coordinator.log.barrier({ time: 0, tag: "", vector }, 0);
    return { position: position ?? { session: 0, sequence: 0 }, vector };
  };
  const first = barrier();
  const ends = async (): Promise<Position[]> => [await coordinator.ship(), await other.ship()];
  expect(standsBehind(first, await ends())).toBe(true);
  // What is written needs a new one.
  for (const { log } of [coordinator, other]) {
    log.write(0, 0, Buffer.alloc(512, 1));
    log.cut();
    const written = await ends();
    expect(standsBehind(first, written)).toBe(false);
    expect(standsBehind(barrier(), written)).toBe(true);
  }
});

it("does not take a barrier for one behind what was written between its hold and its record", async () => {
  const { log, ship } = gateway(1);
  const held = log.hold();
  log.write(0, 0, Buffer.alloc(512, 1));
  const vector = held === undefined ? [] : [held];
  const position = log.barrier({ time: 0, tag: "", vector }, 0);
  expect(standsBehind({ position: position ?? { session: 0, sequence: 0 }, vector }, [await ship()])).toBe(false);
});

it("waits a minute for a session and no longer: closed disks have none, and their delta-sync ends", async () => {
  const { clock, ship } = gateway(0);
  const shipped = ship().catch((error: unknown) => error);
  await clock.advance(sessionAwaitedMs);
  expect(await shipped).toMatchObject({ name: "CommandFailed", message: expect.stringContaining("no session") });
});
