import { describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { type Heartbeat, heartbeatSchema } from "#core/api/gateway-api.ts";
import { idSchema, newId } from "#core/ids.ts";
import type { Table } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { keyOfAction } from "#core/table-rules.ts";
import { counted } from "../../test/kit/counted.ts";
import { gatewayCallers, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, openAsk, operator, protect, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { newestCheckpoint } from "./checkpoints.ts";
import { issueCommand } from "./commands.ts";
import { createVpg } from "./create-vpg.ts";
import { deleteVpg } from "./delete-vpg.ts";
import { findGateway, isConnected } from "./gateway-store.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { ingestBatch } from "./ingest.ts";
import { items } from "./items.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import { sealSession } from "./seal.ts";
import { getVpg, updateVpg } from "./vpg-store.ts";

const names = ["gw-a", "gw-b", "gw-c"];

function beat(site: Site, caller: Caller, idle: readonly Stream[] = []) {
  const sent = { ...saying(idle), processId: newId(site.clock, site.random) };
  return acceptHeartbeat(site, caller, heartbeatSchema.parse(sent));
}

function saying(idle: readonly Stream[]): Omit<Heartbeat, "processId"> {
  const streams = idle.map(({ vpgId, term, session, sequence }) => ({
    ...{ vpgId, term, session, mode: "replicating" as const, lastSequence: sequence, acknowledgedSequence: sequence },
    ...{ idle: true, backlogBytes: 0, lagMs: 0, sync: null, writes: 0, writtenBytes: 0, shippedBytes: 0 },
  }));
  return { version: "1", sampledAt: 0, attachedOperations: [], streams };
}

/** Which of the callers are asked to call every second. */
async function busy(site: Site, callers: readonly Caller[]): Promise<readonly string[]> {
  const asked: string[] = [];
  for (const caller of callers) if ((await beat(site, caller)).nextHeartbeatMs === 1000) asked.push(caller.name);
  return asked;
}

const begin = async (site: Site, ref: string) =>
  updateVpg(site, await getVpg(site, ref), { operationId: newId(site.clock, site.random) });

describe("what a heartbeat reads", () => {
  it("is the same at a site of 1 VPG and of 100", async () => {
    const site = makeSite();
    const { source } = await protect(site);
    const calls: string[] = [];
    const watched = { ...site, table: counted(site.table, calls), objects: counted(site.objects, calls) };
    await beat(watched, source);
    const alone = calls.splice(0);
    // What it captures, that VPG; its own item; its commands.
    expect(alone).toEqual(["query", "get", "transact 1", "query"]);
    for (let number = 1; number < 100; number += 1) {
      const [sourceGateway, recoveryGateway] = [`source-${number}`, `recovery-${number}`];
      await protect(site, { ...twoVolumes, name: `vpg-${number}`, sourceGateway, recoveryGateway });
    }
    await beat(watched, source);
    expect(calls).toEqual(alone);
  });
});

describe("the heartbeat of an idle stream", () => {
  async function idle() {
    const site = makeSite();
    const { vpg, source } = await protect(site);
    const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
    await ingestBatch(site, source, stream.synced());
    await ingestBatch(site, source, stream.checkpoint(site.clock.now()));
    await site.clock.advance(5000);
    const extended = async () => (await newestCheckpoint({ ...site }, vpg.vpgId))?.validThrough === site.clock.now();
    return { site, vpg, source, stream, extended };
  }

  it("asks the bucket for nothing, as long as the table reaches where the stream stands", async () => {
    const { site, source, stream, extended } = await idle();
    const calls: string[] = [];
    const asked: string[] = [];
    const process = { ...site, table: counted(site.table, calls), objects: counted(site.objects, asked) };
    await beat(process, source, [stream]);
    // A process that doesn't know the session yet reads its claim, once.
    expect(asked.splice(0)).toEqual(["get"]);
    expect(await extended()).toBe(true);
    await site.clock.advance(5000);
    calls.length = 0;
    await beat(process, source, [stream]);
    // Beside what every heartbeat does, the checkpoint's item is read and written.
    expect(calls).toEqual(["query", "get", "transact 1", "get", "transact 1", "query"]);
    expect(asked).toEqual([]);
    expect(await extended()).toBe(true);
  });

  it("mends the table where it falls short of what was acknowledged", async () => {
    const { site, vpg, source, stream, extended } = await idle();
    const row = items.batch(vpg.vpgId, stream.session, stream.sequence);
    await site.table.transact([{ delete: row }]);
    await beat({ ...site }, source, [stream]);
    expect(await site.table.get(row)).toBeDefined();
    expect(await extended()).toBe(true);
  });

  it("says nothing of a session that was sealed before it reached so far", async () => {
    const { site, vpg, source, stream, extended } = await idle();
    await sealSession(site, vpg, 1, stream.session, "operator");
    stream.sequence += 1;
    await beat({ ...site }, source, [stream]);
    expect(await extended()).toBe(false);
  });
});

describe("a site that is called more often than it keeps heartbeats", () => {
  const often = { idleMs: 1000, busyMs: 250 };

  async function called() {
    const site = { ...makeSite(), heartbeats: often };
    const { vpg, source } = await protect(site);
    const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
    await ingestBatch(site, source, stream.synced());
    await ingestBatch(site, source, stream.checkpoint(site.clock.now()));
    const calls: string[] = [];
    const watched = { ...site, table: counted(site.table, calls) };
    const processId = newId(site.clock, site.random);
    /** What was written of the heartbeats of one process, and what the last one was answered. */
    const beats = async (times: number, change: Partial<Heartbeat> = {}, everyMs = 1000) => {
      const writes: number[] = [];
      let pauseMs = 0;
      for (let time = 0; time < times; time += 1) {
        await site.clock.advance(everyMs);
        calls.length = 0;
        const sent = { ...saying([stream]), processId, ...change };
        pauseMs = (await acceptHeartbeat(watched, source, heartbeatSchema.parse(sent))).nextHeartbeatMs;
        writes.push(calls.filter((call) => call.startsWith("transact")).length);
      }
      return { writes, pauseMs };
    };
    return { site, vpg, source, stream, beats };
  }

  it("writes one of an idle gateway in five seconds, and the checkpoint's validity with it", async () => {
    const { site, vpg, beats } = await called();
    expect(await beats(11)).toEqual({ writes: [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2], pauseMs: 1000 });
    expect((await newestCheckpoint({ ...site }, vpg.vpgId))?.validThrough).toBe(site.clock.now());
  });

  it("writes at once what another process says, or of another mode, and whatever comes while something is under way", async () => {
    const { site, source, stream, beats } = await called();
    await beats(1);
    const [sent] = saying([stream]).streams;
    const streams = sent === undefined ? [] : [{ ...sent, mode: "bitmap-sync" as const, idle: false }];
    expect((await beats(2, { streams })).writes).toEqual([1, 1]);
    expect((await beats(2)).writes).toEqual([2, 0]);
    expect((await beats(1, { processId: newId(site.clock, site.random) })).writes).toEqual([2]);
    await begin(site, "shop");
    expect(await beats(2)).toEqual({ writes: [2, 2], pauseMs: 250 });
    expect(await beats(6, {}, 250)).toEqual({ writes: [0, 0, 0, 2, 0, 0], pauseMs: 250 });
    await site.clock.advance(500);
    await beats(1);
    const kept = await findGateway(site, source.gatewayId ?? newId(site.clock, site.random));
    expect(kept?.lastSeenAt).toBe(site.clock.now());
  });
});

describe("what is written every few seconds", () => {
  it("has a partition key of its gateway, command or VPG", async () => {
    const site = makeSite();
    const callers = await gatewayCallers(site, names);
    const written: string[] = [];
    const transact: Table["transact"] = async (actions) => {
      for (const action of actions) written.push(keyOfAction(action).pk);
      await site.table.transact(actions);
    };
    const [get, query] = [site.table.get.bind(site.table), site.table.query.bind(site.table)];
    const watched = { ...site, table: { get, query, transact } };
    for (const caller of callers) {
      await beat(watched, caller);
      const body = { kind: "tag-checkpoint", vpgId: newId(site.clock, site.random), tag: "payday" } as const;
      await issueCommand(watched, caller.gatewayId ?? body.vpgId, { commandId: `of-${caller.name}`, body });
    }
    expect(written).toHaveLength(callers.length * 3);
    expect(new Set(written).size).toBe(written.length);
  });
});

describe("a gateway that is asked to call every second", () => {
  it("is any of a VPG with something under way, source or recovery, and no other", async () => {
    const site = makeSite();
    const callers = await gatewayCallers(site, names);
    const { source, recovery } = await protect(site, { ...twoVolumes, name: "other", recoveryGateway: "gw-other" });
    const all = [...callers, source, recovery];
    await createVpg(site, severalGateways(names), operator);
    expect(await busy(site, all)).toEqual([]);
    await begin(site, "shop");
    expect(await busy(site, all)).toEqual([...names, "gw-recovery"]);
    const rebuilt = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(rebuilt);
    await begin(rebuilt, "shop");
    expect(await busy(rebuilt, all)).toEqual([...names, "gw-recovery"]);
  });

  it("may be source and recovery of the same VPG", async () => {
    const site = makeSite();
    const { source } = await protect(site, { ...twoVolumes, sourceGateway: "gw", recoveryGateway: "gw" });
    await begin(site, "shop");
    expect(await busy(site, [source])).toEqual(["gw"]);
  });

  it("reads nothing any more of a VPG that was deleted", async () => {
    const site = makeSite();
    const { source } = await protect(site);
    await deleteVpg(site, operator, "shop");
    const calls: string[] = [];
    await beat({ ...site, table: counted(site.table, calls) }, source);
    expect(calls).toEqual(["query", "transact 1", "query"]);
  });
});

it("a gateway that was heard while the clock was hours ahead does not pass for connected until then", async () => {
  const site = makeSite();
  const { source } = await protect(site);
  const gatewayId = idSchema.parse(source.gatewayId);
  const isSeen = async () => isConnected(await findGateway(site, gatewayId), site.clock.now());
  site.clock.leap(3 * 3_600_000);
  await beat(site, source);
  expect(await isSeen()).toBe(true);
  site.clock.leap(-3 * 3_600_000);
  expect(await isSeen()).toBe(false);
});
