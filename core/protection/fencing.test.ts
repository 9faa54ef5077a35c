import { describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { heartbeatSchema } from "#core/api/gateway-api.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { newId } from "#core/ids.ts";
import { batchKey, sessionClaimPrefix } from "#core/journal/keys.ts";
import { recordsMax } from "#core/journal/limits.ts";
import type { Objects } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { transactBytesMax } from "#core/table-rules.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { makeSite, openAsk, operator, protect, type TestSite, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { currentRole } from "./current-role.ts";
import { deleteVpg } from "./delete-vpg.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { ingestBatch } from "./ingest.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import { sealSession, sealSessionsOf } from "./seal.ts";
import { assertTableCurrent, mintTerm } from "./terms.ts";
import { getVpg, updateVpg } from "./vpg-store.ts";

const noon = Date.UTC(2030, 0, 1, 12);

/** Another process of the same site: same bucket and table, nothing remembered. */
const otherProcess = (site: TestSite, over: Partial<Site> = {}): TestSite => ({ ...site, ...over }) as TestSite;

/** A session that is synced and has one checkpoint. */
async function running() {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  await ingestBatch(site, source, stream.synced());
  await ingestBatch(site, source, stream.checkpoint(noon));
  return { site, vpg, source, stream };
}

/** What a committed failover does to the VPG. */
async function commit(site: Site, ref: string) {
  const vpg = await getVpg(site, ref);
  const operationId = newId(site.clock, site.random);
  const held = await updateVpg(site, vpg, { operationId });
  await mintTerm(site, held, { n: vpg.term + 1, runs: site.siteId, journal: null, fork: [], operationId });
  await updateVpg(site, held, { term: vpg.term + 1, role: "Runs", needsConfiguration: true, operationId: null });
  await sealSessionsOf(site, vpg, vpg.term, "failover-committed", { term: vpg.term + 1, session: 0 });
}

/** A table with the same items as another had at this moment. */
async function copyOf(site: Site, pks: readonly string[]): Promise<SqliteTable> {
  const copy = new SqliteTable(":memory:");
  for (const pk of pks) {
    const { items } = await site.table.query(pk);
    for (const { sk, fields } of items) await copy.transact([{ put: { pk, sk }, fields }]);
  }
  return copy;
}

const pksOf = (vpgId: string) => [
  `vpg#${vpgId}`,
  ...["session", "batch", "checkpoint", "event"].map((kind) => `vpg#${vpgId}#${kind}`),
  "vpg-name",
];

describe("a session that is over", () => {
  it("gets Fenced in the process that opened the next one, and in one that never saw either", async () => {
    const { site, vpg, source, stream } = await running();
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const late = stream.checkpoint(noon + 1);
    for (const process of [site, otherProcess(site)]) {
      await expect(ingestBatch(process, source, late)).rejects.toMatchObject({ name: "Fenced" });
    }
    expect(await listed(site, vpg.vpgId)).toHaveLength(1);
  });

  it("gets Fenced by a process that still remembers it as open: the SEAL stands in its place", async () => {
    const { site, vpg, source, stream } = await running();
    const stale = otherProcess(site);
    await ingestBatch(stale, source, stream.checkpoint(noon + 1));
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const before = await listed(site, vpg.vpgId);
    await expect(ingestBatch(stale, source, stream.checkpoint(noon + 2))).rejects.toMatchObject({ name: "Fenced" });
    expect(await listed(site, vpg.vpgId)).toEqual(before);
  });

  it("stays invisible behind its SEAL even where a process that remembers it open takes a later batch", async () => {
    const { site, vpg, source, stream } = await running();
    const stale = otherProcess(site);
    await ingestBatch(stale, source, stream.checkpoint(noon + 1));
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const before = await listed(site, vpg.vpgId);
    stream.checkpoint(noon + 2);
    await ingestBatch(stale, source, stream.checkpoint(noon + 3)).catch(() => undefined);
    for (const process of [site, stale, otherProcess(site)]) expect(await listed(process, vpg.vpgId)).toEqual(before);
    expect(await listedOffline(site, vpg.vpgId)).toEqual(before);
  });

  it("still gets the same answer for what it had committed", async () => {
    const { site, vpg, source, stream } = await running();
    const sent = stream.checkpoint(noon + 1);
    const first = await ingestBatch(site, source, sent);
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    expect(await ingestBatch(site, source, sent)).toEqual({ ...first, duplicate: true });
  });
});

describe("a clone of a gateway", () => {
  it("that sends other bytes in the same session gets Diverged and changes nothing", async () => {
    const { site, vpg, source, stream } = await running();
    const clone = stream.clone();
    await ingestBatch(site, source, stream.checkpoint(noon + 1));
    const other = clone.next([{ volume: 1, offset: 0, bytes: new Uint8Array(512).fill(9) }]);
    await expect(ingestBatch(site, source, other)).rejects.toMatchObject({ name: "Diverged" });
    expect(await listed(site, vpg.vpgId)).toHaveLength(2);
  });

  it("that doesn't know the last batch is refused, in whatever order its batches come", async () => {
    const { site, source, stream } = await running();
    for (const process of [site, otherProcess(site)]) {
      const clone = stream.clone(true);
      await expect(ingestBatch(process, source, clone.checkpoint(noon))).rejects.toMatchObject({ name: "Diverged" });
    }
    const clone = stream.clone();
    clone.checkpoint(noon + 7);
    await ingestBatch(site, source, clone.checkpoint(noon + 8));
    const own = stream.checkpoint(noon + 1);
    for (const process of [site, otherProcess(site)]) {
      await expect(ingestBatch(process, source, own)).rejects.toMatchObject({ name: "Diverged" });
    }
  });

  it("that broke the chain all the same ends the run there for everybody", async () => {
    const { site, vpg, source, stream } = await running();
    const clone = stream.clone(true);
    const before = await listed(site, vpg.vpgId);
    const broken = clone.checkpoint(noon + 1);
    await site.objects.put(batchKey(broken), broken.body);
    expect(await listed(otherProcess(site), vpg.vpgId)).toEqual(before);
    await listed(site, vpg.vpgId);
    await expect(ingestBatch(site, source, clone.checkpoint(noon + 2))).rejects.toMatchObject({ name: "Diverged" });
    const next = await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1, cleanlyClosed: true }));
    expect(next).toMatchObject({ session: 2, continues: false, sync: "delta" });
    expect(await listed(otherProcess(site), vpg.vpgId)).toEqual(before);
  });

  it("that starts with the same knowledge loses, and a person's new token lets it in", async () => {
    const { site, vpg, source } = await running();
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const clone = openAsk(site, vpg.vpgId, { lastSession: 1 });
    await expect(openSession(site, source, clone)).rejects.toMatchObject({ name: "DuplicateGateway" });
    const { createToken } = await import("./tokens.ts");
    await createToken(site, { name: "gw-berlin", role: "gateway" }, { name: "ann", role: "operator", gatewayId: null });
    const opened = await openSession(site, source, clone);
    expect(opened).toMatchObject({ session: 3, continues: false });
    await expect(openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 2 }))).rejects.toMatchObject({
      name: "DuplicateGateway",
    });
  });
});

describe("a term that is over", () => {
  it("opens no session and commits no batch, whatever it sends", async () => {
    const { site, vpg, source, stream } = await running();
    await commit(site, vpg.vpgId);
    const before = await listed(site, vpg.vpgId);
    for (const process of [site, otherProcess(site)]) {
      const ask = openAsk(site, vpg.vpgId, { lastSession: 1 });
      await expect(openSession(process, source, ask)).rejects.toMatchObject({ name: "Fenced" });
      await expect(ingestBatch(process, source, stream.checkpoint(noon + 9))).rejects.toMatchObject({ name: "Fenced" });
    }
    expect(await listed(site, vpg.vpgId)).toEqual(before);
  });

  it("is over from its successor's claim on, before any seal", async () => {
    const { site, vpg, source, stream } = await running();
    const current = await getVpg(site, vpg.vpgId);
    const term = { n: 2, runs: site.siteId, journal: null, fork: [], operationId: newId(site.clock, site.random) };
    await mintTerm(site, current, term);
    const late = stream.checkpoint(noon + 1);
    await expect(ingestBatch(otherProcess(site), source, late)).rejects.toMatchObject({ name: "Fenced" });
  });

  it("is minted once: the same operation again gets the same, another one is refused", async () => {
    const { site, vpg } = await running();
    const current = await getVpg(site, vpg.vpgId);
    const term = { n: 2, runs: site.siteId, journal: null, fork: [], operationId: newId(site.clock, site.random) };
    const minted = await mintTerm(site, current, term);
    expect(await mintTerm(site, current, term)).toEqual(minted);
    const other = { ...term, operationId: newId(site.clock, site.random) };
    await expect(mintTerm(site, current, other)).rejects.toMatchObject({ name: "ConditionFailed" });
  });

  it("is minted by its keyholder alone", async () => {
    const { site, vpg } = await running();
    const stranger = { ...site, siteId: newId(site.clock, site.random) };
    const current = await getVpg(site, vpg.vpgId);
    const term = { n: 2, runs: stranger.siteId, journal: null, fork: [], operationId: newId(site.clock, site.random) };
    await expect(mintTerm(stranger, current, term)).rejects.toMatchObject({ name: "InvalidInput" });
  });
});

describe("a table that is older than the bucket", () => {
  it("refuses sessions and operations after a commit, and ingest goes by the bucket", async () => {
    const { site, vpg, source, stream } = await running();
    const yesterday = await copyOf(site, pksOf(vpg.vpgId));
    await commit(site, vpg.vpgId);
    const truth = await listed(site, vpg.vpgId);
    const restored = otherProcess(site, { table: yesterday });
    const old = await getVpg(restored, vpg.vpgId);
    expect(old.role).toBe("Journal");
    await expect(assertTableCurrent(restored, old)).rejects.toMatchObject({ name: "TableBehindBucket" });
    const ask = openAsk(site, vpg.vpgId, { lastSession: 1 });
    await expect(openSession(restored, source, ask)).rejects.toMatchObject({ name: "TableBehindBucket" });
    await expect(ingestBatch(restored, source, stream.checkpoint(noon + 9))).rejects.toMatchObject({ name: "Fenced" });
    expect(await listed(restored, vpg.vpgId)).toEqual(truth);
  });

  it("tells no gateway what the site is to the VPG: disks are removed on the strength of it", async () => {
    const { site, vpg, source } = await running();
    const yesterday = otherProcess(site, { table: await copyOf(site, pksOf(vpg.vpgId)) });
    const before = otherProcess(site, { table: new SqliteTable(":memory:") });
    expect(await currentRole(site, source, vpg.vpgId)).toBe("Journal");
    await commit(site, vpg.vpgId);
    expect(await currentRole(site, source, vpg.vpgId)).toBe("Runs");
    await expect(currentRole(yesterday, source, vpg.vpgId)).rejects.toMatchObject({ name: "TableBehindBucket" });
    await expect(currentRole(before, source, vpg.vpgId)).rejects.toMatchObject({ name: "NotFound" });
    await deleteVpg(site, operator, vpg.vpgId);
    await expect(currentRole(yesterday, source, vpg.vpgId)).rejects.toMatchObject({ name: "TableBehindBucket" });
    for (const each of [site, before]) expect(await currentRole(each, source, vpg.vpgId)).toBe("deleted");
  });

  it("refuses when the bucket has a session that it doesn't know", async () => {
    const { site, vpg, source } = await running();
    const yesterday = await copyOf(site, pksOf(vpg.vpgId));
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const restored = otherProcess(site, { table: yesterday });
    for (const lastSession of [1, 2]) {
      const ask = openAsk(site, vpg.vpgId, { lastSession });
      await expect(openSession(restored, source, ask)).rejects.toMatchObject({ name: "TableBehindBucket" });
    }
  });

  it("refuses what was deleted since: its journal is to be purged", async () => {
    const { site, vpg, source } = await running();
    const yesterday = await copyOf(site, pksOf(vpg.vpgId));
    await deleteVpg(site, operator, "shop");
    const restored = otherProcess(site, { table: yesterday });
    const ask = openAsk(site, vpg.vpgId, { lastSession: 1 });
    await expect(openSession(restored, source, ask)).rejects.toMatchObject({ name: "TableBehindBucket" });
    expect(await site.objects.list(sessionClaimPrefix(vpg.vpgId))).toHaveLength(1);
  });

  it("mends itself inside a session: rows that it lacks come back from the objects", async () => {
    const { site, vpg, source, stream } = await running();
    const yesterday = await copyOf(site, pksOf(vpg.vpgId));
    for (let count = 0; count < 5; count += 1) await ingestBatch(site, source, stream.checkpoint(noon + 1 + count));
    const truth = await listed(site, vpg.vpgId);
    expect(await listed(otherProcess(site, { table: yesterday }), vpg.vpgId)).toEqual(truth);
  });

  it("is made again by a rebuild, and then everything goes on", async () => {
    const { site, vpg, source, stream } = await running();
    await ingestBatch(site, source, stream.checkpoint(noon + 1, "payday"));
    const truth = await listed(site, vpg.vpgId);
    const rebuilt = otherProcess(site, { table: new SqliteTable(":memory:") });
    expect(await rebuildTable(rebuilt)).toMatchObject({
      vpgs: [{ name: "shop", sessions: 1, checkpoints: 2 }],
      tokens: 2,
    });
    expect(await listed(rebuilt, vpg.vpgId)).toEqual(truth);
    const next = await openSession(rebuilt, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    expect(next).toMatchObject({ session: 2, sync: "delta" });
  });
});

describe("a VPG without a checkpoint", () => {
  it("is as it was after a rebuild: its source still opens a session and syncs", async () => {
    const site = makeSite();
    const { vpg, source } = await protect(site);
    const rebuilt = otherProcess(site, { table: new SqliteTable(":memory:") });
    await rebuildTable(rebuilt);
    expect(await getVpg(rebuilt, vpg.vpgId)).toMatchObject({ role: "Journal", term: 1 });
    const stream = new Stream(vpg.vpgId, await openSession(rebuilt, source, openAsk(rebuilt, vpg.vpgId)));
    await ingestBatch(rebuilt, source, stream.synced());
  });
});

describe("a batch that touches many places", () => {
  it("stands in one item, and a rebuild puts no more of them into a transaction than it takes", async () => {
    const site = makeSite();
    const input = createVpgSchema.parse({
      ...twoVolumes,
      vms: [{ name: "db", volumes: [{ name: "data", sizeBytes: 32 * 2 ** 40 }] }],
    });
    const { vpg, source } = await protect(site, input);
    const volumes = [{ vmName: "db", name: "data", sizeBytes: 32 * 2 ** 40, sectorBytes: 512 }];
    const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId, { volumes })));
    // Each zero lies over two pages of its own, so a row is as long as any can be.
    const zeros = Array.from({ length: recordsMax - 1 }, (_, index) => ({
      ...{ volume: stream.volumes[0]?.volume ?? 1, offset: (2 * index + 1) * 2 ** 30 - 512, zero: 1024 },
    }));
    // A page's number takes five characters.
    const most = Math.ceil(transactBytesMax / (2 * zeros.length * 5));
    await ingestBatch(site, source, stream.synced());
    for (let count = 0; count < most; count += 1) {
      await ingestBatch(site, source, stream.next(zeros, [{ kind: "marker", time: noon + count, tag: "" }]));
    }
    const rebuilt = otherProcess(site, { table: new SqliteTable(":memory:") });
    expect((await rebuildTable(rebuilt)).vpgs).toMatchObject([{ batches: most + 1, checkpoints: most }]);
  });
});

describe("a table that lost a VPG", () => {
  const beat = (site: Site, vpgId: string, session: number) =>
    heartbeatSchema.parse({
      ...{ version: "1", sampledAt: 0, processId: newId(site.clock, site.random), attachedOperations: [] },
      streams: [
        {
          ...{ vpgId, term: 1, session, lastSequence: 1, acknowledgedSequence: 1, mode: "replicating", idle: false },
          ...{ backlogBytes: 0, lagMs: 0, sync: null, writes: 0, writtenBytes: 0, shippedBytes: 0 },
        },
      ],
    });

  it("tells no gateway that its VPG was deleted, unless it was", async () => {
    const { site, vpg, source } = await running();
    const lost = otherProcess(site, { table: new SqliteTable(":memory:") });
    const heartbeat = beat(site, vpg.vpgId, 1);
    expect((await acceptHeartbeat(lost, source, heartbeat)).streams).toMatchObject([{ fenced: false, deleted: false }]);
    await deleteVpg(site, operator, "shop");
    expect((await acceptHeartbeat(lost, source, heartbeat)).streams).toMatchObject([{ fenced: true, deleted: true }]);
  });

  it("is made again also when its name was given to another VPG meanwhile: the newer one has it", async () => {
    const { site, vpg } = await running();
    await site.clock.advance(1000);
    const lost = otherProcess(site, { table: new SqliteTable(":memory:") });
    const again = await protect(lost);
    const rebuilt = otherProcess(site, { table: new SqliteTable(":memory:") });
    expect((await rebuildTable(rebuilt)).vpgs).toMatchObject([{ vpgId: vpg.vpgId }, { vpgId: again.vpg.vpgId }]);
    expect((await getVpg(rebuilt, "shop")).vpgId).toBe(again.vpg.vpgId);
    expect((await getVpg(rebuilt, vpg.vpgId)).lastSession).toBe(1);
  });
});

describe("sealing (R8)", () => {
  it("races with ingest: whoever creates the number first decides, and a batch that won is kept", async () => {
    const { site, vpg, source, stream } = await running();
    const contested = stream.checkpoint(noon + 1);
    const place = { vpgId: vpg.vpgId, term: 1, session: 1, batch: contested.batch };
    let raced = false;
    const racing: Objects = {
      purge: () => Promise.reject(new Error("nothing is purged here")),
      get: (key, range) => site.objects.get(key, range),
      head: (key) => site.objects.head(key),
      list: (prefix, options) => site.objects.list(prefix, options),
      delete: (key) => site.objects.delete(key),
      async put(key, body, options) {
        if (key === batchKey(place) && !raced) {
          raced = true;
          await ingestBatch(otherProcess(site), source, contested);
        }
        return site.objects.put(key, body, options);
      },
    };
    const sealer = otherProcess(site, { objects: racing });
    const progress = await sealSession(sealer, vpg, 1, 1, "operator");
    expect(progress).toMatchObject({ end: "sealed", batches: contested.batch + 1 });
    expect(await listed(site, vpg.vpgId)).toHaveLength(2);
  });

  it("changes nothing when it is repeated", async () => {
    const { site, vpg } = await running();
    const first = await sealSession(site, vpg, 1, 1, "operator");
    const keys = (await site.objects.list("journal/")).length;
    expect(await sealSession(otherProcess(site), vpg, 1, 1, "operator")).toEqual(first);
    expect((await site.objects.list("journal/")).length).toBe(keys);
  });
});
