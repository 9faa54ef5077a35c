import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { type GatewayMeans, heartbeatSchema } from "#core/api/gateway-api.ts";
import { statusReplySchema, vpgViewSchema } from "#core/api/site-api.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { newId } from "#core/ids.ts";
import { siteStatus } from "#core/recovery/site-status.ts";
import type { Caller } from "#core/site.ts";
import { makeSite, openAsk, operator, protect, type TestSite } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { volumesOf } from "./definition.ts";
import { failoverCheck } from "./failover-check.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { imageHashes } from "./image-hashes.ts";
import { ingestBatch } from "./ingest.ts";
import { listBatches } from "./journal-reads.ts";
import { moveCheck } from "./move-check.ts";
import { openSession } from "./open-session.ts";
import { sealSession } from "./seal.ts";
import { getVpg, pauseVpg, resumeVpg, type VpgRecord } from "./vpg-store.ts";
import { vpgView } from "./vpg-view.ts";

const noon = Date.UTC(2030, 0, 1, 12);
const pause = async () => undefined;

let site: TestSite;
let vpg: VpgRecord;
let source: Caller;
let recovery: Caller;
let stream: Stream;

async function beat(caller: Caller, mode = "replicating", means?: GatewayMeans, more: object = {}): Promise<void> {
  const streams =
    caller === recovery
      ? []
      : [
          {
            ...{ vpgId: vpg.vpgId, term: 1, session: 1, mode, idle: false, backlogBytes: 7, lagMs: 9, sync: null },
            ...{ writes: 1, writtenBytes: 512, shippedBytes: 256 },
            ...{ lastSequence: stream.sequence, acknowledgedSequence: stream.sequence },
            ...more,
          },
        ];
  const processId = newId(site.clock, site.random);
  const heartbeat = { version: "0.1.0", sampledAt: site.clock.now(), processId, attachedOperations: [], streams };
  await acceptHeartbeat(site, caller, heartbeatSchema.parse({ ...heartbeat, ...(means && { means }) }));
}

beforeEach(async () => {
  site = makeSite();
  ({ vpg, source, recovery } = await protect(site));
  stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
});

const send = (sent: ReturnType<Stream["next"]>) => ingestBatch(site, source, sent);
const view = async () => vpgView(site, await getVpg(site, vpg.vpgId));

describe("vpgView", () => {
  it("tells what a VPG is, from its first session to a paused one whose gateway is gone", async () => {
    await beat(source, "initial-sync");
    expect(await view()).toMatchObject({ status: "Initializing", substatus: "InitialSync", rpoMs: null });
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    await send(stream.checkpoint(noon + 5000, "payday"));
    await beat(source);
    const well = vpgViewSchema.parse(await view());
    expect(well).toMatchObject({
      ...{ status: "MeetingSLA", substatus: "None", role: "Journal", term: 1, checkpoints: 2 },
      ...{ historyHeldMs: 5000, backlogBytes: 7, lagMs: 9, mode: "replicating", writtenBytes: 512, shippedBytes: 256 },
      newestCheckpoint: { time: noon + 5000, tags: ["payday"], pins: 0 },
      oldestCheckpoint: { time: noon },
    });
    expect(well.journalBytes).toBeGreaterThan(0);
    await pauseVpg(site, operator, vpg.vpgId);
    expect(await view()).toMatchObject({ substatus: "ReplicationPausedUserInitiated" });
    await resumeVpg(site, operator, vpg.vpgId);
    await site.clock.advance(20_000);
    expect(await view()).toMatchObject({ status: "NotMeetingSLA", substatus: "DisconnectedFromPeer" });
  });

  it("stands in the site's status, which has the form of the API", async () => {
    const reply = statusReplySchema.parse(await siteStatus(site));
    expect(reply).toMatchObject({ site: { name: "recovery" }, vpgs: [{ name: "shop" }], operations: [] });
    expect(reply.gateways.map(({ name, connected }) => [name, connected])).toEqual([
      ["gw-berlin", false],
      ["gw-recovery", false],
    ]);
  });
});

describe("moveCheck", () => {
  const states = async () => {
    const { ready, items } = await moveCheck(site, await getVpg(site, vpg.vpgId));
    return { ready, ...Object.fromEntries(items.map(({ what, state }) => [what, state])) };
  };
  const all = () => vpg.definition.vms.map(({ name }) => name);
  const none = { boot: [], shutdown: [], kill: [], status: [] };

  it("is blocked by what a failover can do without: a silent source, one that syncs, a VM without hooks", async () => {
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    await beat(recovery);
    expect(await states()).toMatchObject({ ready: false, source: "blocked" });
    await beat(source, "delta-sync", { hooks: { ...none, shutdown: all(), status: all() }, freeBytes: null });
    expect(await states()).toMatchObject({ ready: false, source: "blocked" });
    await beat(source, "replicating", { hooks: { ...none, shutdown: all() }, freeBytes: null });
    expect(await states()).toMatchObject({ ready: false, source: "ok", shutdown: "blocked" });
    await beat(source, "replicating", { hooks: null, freeBytes: null });
    expect(await states()).toMatchObject({ ready: true, shutdown: "warning" });
  });

  it("says that a paused VPG is resumed first, and how long a throttle keeps the VMs down", async () => {
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    await beat(recovery);
    const details = async () => (await moveCheck(site, await getVpg(site, vpg.vpgId))).items;
    await pauseVpg(site, operator, vpg.vpgId);
    await beat(source, "paused");
    expect(await details()).toContainEqual(
      expect.objectContaining({ what: "source", state: "blocked", detail: expect.stringContaining("vpg resume shop") }),
    );
    await resumeVpg(site, operator, vpg.vpgId);
    await beat(
      source,
      "replicating",
      { hooks: null, freeBytes: null },
      { backlogBytes: 1e6, throttleBytesPerSecond: 10_000 },
    );
    expect(await details()).toContainEqual(
      expect.objectContaining({
        what: "throttle",
        state: "warning",
        detail: expect.stringMatching(/10 kB\/s.*1m 40s/),
      }),
    );
  });

  it("says what would be shut down and removed, and whether there is a way back", async () => {
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    await beat(recovery);
    const [vm = ""] = all();
    const hooks = { ...none, shutdown: all(), status: all(), remove: [vm] };
    await beat(source, "replicating", { hooks, freeBytes: null });
    expect(await states()).toMatchObject({ ready: true, shutdown: "ok", remove: "ok", reverse: "warning" });
    const { items } = await moveCheck(site, await getVpg(site, vpg.vpgId));
    expect(items.find(({ what }) => what === "remove")?.detail).toContain(`would remove ${vm}`);
  });
});

describe("failoverCheck", () => {
  const states = async () => {
    const { ready, items } = await failoverCheck(site, await getVpg(site, vpg.vpgId));
    return { ready, ...Object.fromEntries(items.map(({ what, state }) => [what, state])) };
  };

  it("says what is missing, and is ready when nothing is", async () => {
    expect(await states()).toMatchObject({
      ready: false,
      checkpoint: "blocked",
      compute: "blocked",
      source: "warning",
    });
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    await beat(recovery);
    expect(await states()).toMatchObject({ ready: true, checkpoint: "ok", compute: "ok", source: "warning" });
    await beat(source);
    expect(await states()).toMatchObject({ ready: true, source: "ok", operation: "ok", table: "ok", hooks: "warning" });
  });

  it("knows of a gateway's hooks and room what its heartbeats tell", async () => {
    const [vm = "", ...others] = vpg.definition.vms.map(({ name }) => name);
    const all = [vm, ...others];
    const bytes = volumesOf(vpg.definition).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const none = { boot: [], shutdown: [], kill: [], status: [] };
    await beat(recovery, "replicating", { hooks: { ...none, boot: others }, freeBytes: bytes - 1 });
    await beat(source, "replicating", { hooks: { ...none, shutdown: all }, freeBytes: null });
    expect(await states()).toMatchObject({ hooks: "warning", space: "warning", source: "warning" });
    await beat(recovery, "replicating", { hooks: { ...none, boot: all }, freeBytes: bytes });
    expect(await states()).toMatchObject({ hooks: "warning", space: "ok" });
    await beat(recovery, "replicating", { hooks: { ...none, boot: all, kill: all }, freeBytes: bytes });
    await beat(source, "replicating", { hooks: { ...none, shutdown: all, status: all }, freeBytes: null });
    expect(await states()).toMatchObject({ hooks: "ok", space: "ok", source: "ok" });
  });
});

describe("the journal for a sync and for views", () => {
  const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
  /** Of a chunk: over the hashes of its blocks. */
  const hashOf = (chunk: Uint8Array) => {
    const blocks = Array.from({ length: chunk.length / 4096 }, (_, block) =>
      sha256(chunk.subarray(block * 4096, (block + 1) * 4096)),
    );
    return sha256(Buffer.concat(blocks)).toString("hex");
  };
  const firstHash = async (sequence: number) => {
    const ask = { vpgId: vpg.vpgId, volume: 1, page: 0, upTo: { session: 1, sequence } };
    const hashes = await imageHashes(site, vpg, ask, pause);
    expect(hashes.length).toBe((64 * 2 ** 20 * 32) / chunkBytes);
    return Buffer.from(hashes.subarray(0, 32)).toString("hex");
  };

  it("hashes the image as of a position, and knows what came since it was asked last", async () => {
    await send(stream.synced());
    const chunk = new Uint8Array(chunkBytes);
    expect(await firstHash(stream.sequence)).toBe(hashOf(chunk));
    await send(stream.next([{ volume: 1, offset: 512, bytes: new Uint8Array(512).fill(1) }]));
    chunk.fill(1, 512, 1024);
    const then = stream.sequence;
    expect(await firstHash(then)).toBe(hashOf(chunk));
    await send(stream.next([{ volume: 1, offset: 0, bytes: new Uint8Array(1024).fill(2) }]));
    expect(await firstHash(then)).toBe(hashOf(chunk));
    expect(await firstHash(stream.sequence)).toBe(hashOf(chunk.fill(2, 0, 1024)));
  });

  it("tells only batches of unbroken runs, up to the position", async () => {
    await send(stream.synced());
    await send(stream.checkpoint(noon));
    const end = stream.sequence;
    await send(stream.checkpoint(noon + 1));
    const last = stream.sequence;
    stream.checkpoint(noon + 2);
    await send(stream.checkpoint(noon + 3));
    const batches = async (sequence: number) =>
      (await listBatches(site, vpg, { session: 1, sequence })).batches.map(({ batch }) => batch);
    expect(await batches(end)).toEqual([0, 1]);
    expect(await batches(last)).toEqual([0, 1, 2]);
    await expect(batches(last + 1)).rejects.toMatchObject({ name: "TableBehindBucket" });
    await sealSession(site, vpg, 1, 1, "operator");
    expect(await batches(last)).toEqual([0, 1, 2]);
  });
});
