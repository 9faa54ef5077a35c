import { beforeEach, expect, it } from "vitest";
import { type Heartbeat, heartbeatSchema } from "#core/api/gateway-api.ts";
import { type Id, newId } from "#core/ids.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg, pauseVpg, resumeVpg, updateVpg } from "#core/protection/vpg-store.ts";
import { changeOperation, findOperation } from "#core/recovery/operation-store.ts";
import {
  makeSite,
  noWorkflows,
  openAsk,
  operator,
  type ProtectedVpg,
  protect,
  type TestSite,
} from "../../test/kit/site.ts";
import { syncForStreams } from "./for-session.ts";
import { startDeltaSync } from "./start.ts";

let site: TestSite;
let shop: ProtectedVpg;
let session: number;
let started: string[];

beforeEach(async () => {
  started = [];
  const start = async (_: string, name: string): Promise<void> => {
    started.push(name);
  };
  site = { ...makeSite(), workflows: { ...noWorkflows, start } };
  shop = await protect(site);
  ({ session } = await openSession(site, shop.source, openAsk(site, shop.vpg.vpgId)));
});

function asks(
  syncRequestId: Id | undefined,
  over: { readonly session?: number; readonly mode?: string } = {},
): Heartbeat {
  const stream = {
    ...{ vpgId: shop.vpg.vpgId, term: 1, session, mode: "bitmap-sync", lastSequence: 9, acknowledgedSequence: 9 },
    ...{ idle: false, backlogBytes: 0, lagMs: 0, sync: null, writes: 0, writtenBytes: 0, shippedBytes: 0, ...over },
  };
  return heartbeatSchema.parse({
    ...{ version: "1", sampledAt: 0, processId: newId(site.clock, site.random), attachedOperations: [] },
    streams: [syncRequestId === undefined ? stream : { ...stream, syncRequestId }],
  });
}
const someId = (): Id => newId(site.clock, site.random);

it("starts one delta-sync for a sync that its gateway asks one for, however often that is said, and none for a second beside it", async () => {
  await syncForStreams(site, shop.source, asks(undefined));
  expect(started).toEqual([]);
  const requestId = someId();
  for (let time = 0; time < 3; time += 1) await syncForStreams(site, shop.source, asks(requestId));
  await syncForStreams(site, shop.source, asks(someId()));
  expect(started).toHaveLength(1);
  expect(await findOperation(site, requestId)).toMatchObject({ kind: "delta-sync", sync: { force: false } });
  expect((await getVpg(site, "shop")).syncOperationId).toBe(requestId);
});

it("starts none again when that has ended", async () => {
  const requestId = someId();
  await syncForStreams(site, shop.source, asks(requestId));
  await changeOperation(site, requestId, () => ({ change: { phase: "Failed", endedAt: site.clock.now() } }));
  await updateVpg(site, await getVpg(site, "shop"), { syncOperationId: null });
  started = [];
  await syncForStreams(site, shop.source, asks(requestId));
  expect(started).toEqual([]);
  expect((await getVpg(site, "shop")).syncOperationId).toBeNull();
});

it("starts none for a gateway that isn't the source, an older session, or a VPG that is paused, and says nothing of it", async () => {
  const warned: string[] = [];
  const watched = { ...site, log: { ...site.log, warn: (event: string) => void warned.push(event) } };
  await syncForStreams(watched, shop.recovery, asks(someId()));
  await syncForStreams(watched, shop.source, asks(someId(), { session: session - 1 }));
  await pauseVpg(site, operator, shop.vpg.vpgId);
  await syncForStreams(watched, shop.source, asks(someId()));
  expect([started, warned]).toEqual([[], []]);
  await resumeVpg(site, operator, shop.vpg.vpgId);
  await syncForStreams(watched, shop.source, asks(someId()));
  expect(started).toHaveLength(1);
});

it("is refused to a person by the name of what keeps the disks closed", async () => {
  const operationId = someId();
  await updateVpg(site, await getVpg(site, "shop"), { operationId });
  const sync = () => startDeltaSync(site, operator, "shop", { requestId: someId(), options: { force: true } });
  await acceptHeartbeat(site, shop.source, asks(undefined, { mode: "closed" }));
  await expect(sync()).rejects.toMatchObject({ name: "OperationInProgress", details: { operationId } });
  await updateVpg(site, await getVpg(site, "shop"), { operationId: null });
  await expect(sync()).rejects.toMatchObject({ name: "InvalidInput" });
  await acceptHeartbeat(site, shop.source, asks(undefined));
  expect(await sync()).toMatchObject({ kind: "delta-sync" });
});
