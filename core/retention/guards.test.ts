import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import { type Id, newId } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { formatPosition, parsePosition } from "#core/journal/position.ts";
import type { Objects, Table } from "#core/ports.ts";
import { listCheckpoints, pinCheckpoint } from "#core/protection/checkpoints.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { listBatches } from "#core/protection/journal-reads.ts";
import { releaseLease, takeLease } from "#core/protection/leases.ts";
import { latestDigest, latestManifest } from "#core/protection/manifests.ts";
import { leaseOf } from "#core/protection/pins.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, protect, twoVolumes } from "../../test/kit/site.ts";
import { expectViews, overHttp, viewsOf, WrittenSource } from "../../test/kit/written-source.ts";
import { collectJournal } from "./collect.ts";
import { retentionLimits as limits } from "./limits.ts";
import type { Retention } from "./policy.ts";
import { retainJournal } from "./retain.ts";
import { retentionStanding } from "./standing.ts";

const hour = 3_600_000;
const oneInAnHour: Retention = {
  tiers: [
    { everyMs: 0, forMs: 60_000 },
    { everyMs: hour, forMs: 24 * hour },
  ],
  taggedMs: 24 * hour,
};

let drawn = 10;

/** A journal of 400 batches, one in ten seconds, in layers; `as` is another process of its site. */
async function begin(retention = oneInAnHour, batches = 400) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const { vpg, source: caller } = await protect(site, { ...twoVolumes, retention });
  const source = new WrittenSource(site, {
    ...{ vpgId: vpg.vpgId, caller, random: new SeededRandom(5) },
    volumes: openAsk(site, vpg.vpgId).volumes,
    nextTime: async () => {
      await clock.advance(10_000);
      return clock.now();
    },
  });
  await source.open();
  await source.write(batches);
  const as = (over: { objects?: Objects; table?: Table } = {}): Site => {
    drawn += 1;
    return { ...makeSite({ objects, table, seed: drawn, ...over }), clock };
  };
  await compactJournal(as(), vpg.vpgId);
  const retain = async (of = as()) => retainJournal(of, await getVpg(of, vpg.vpgId));
  const collect = async (of = as()) => collectJournal(of, await getVpg(of, vpg.vpgId));
  const ids = async () => (await listed(site, vpg.vpgId)).map((line) => line.split(" ")[0] ?? "");
  /** Time goes by, with a source that goes on. */
  const later = async (ms: number) => {
    await clock.advance(ms);
    await source.write(8);
  };
  return { objects, table, site, clock, vpg, caller, source, as, retain, collect, ids, later };
}

describe("thinning", () => {
  it("leaves what was pinned before, refuses to pin what it has marked, and a lease holds until its end", async () => {
    const { as, vpg, retain, ids, clock, later } = await begin();
    const [pinned = "", leased = ""] = (await ids()).slice(100, 102);
    await pinCheckpoint(as(), vpg.vpgId, pinned, "op");
    await pinCheckpoint(as(), vpg.vpgId, leased, leaseOf("view", clock.now() + hour));
    const [, , marked = ""] = (await ids()).slice(100, 103);
    // Killed between the marks and the manifest.
    const cut: Partial<Objects> = { put: () => Promise.reject(new Error("killed")) };
    const dying = as();
    const { objects } = dying;
    const half = {
      ...dying,
      objects: new Proxy(objects, { get: (of, name) => (name === "put" ? cut.put : Reflect.get(of, name).bind(of)) }),
    };
    await expect(retain(half)).rejects.toThrow("killed");
    expect(await ids()).toContain(marked);
    await expect(pinCheckpoint(as(), vpg.vpgId, marked, "late")).rejects.toMatchObject({ name: "NoCheckpoint" });
    expect(await retain()).toMatchObject({ waits: null, lost: false });
    const left = await ids();
    expect(left).toContain(pinned);
    expect(left).toContain(leased);
    expect(left).not.toContain(marked);
    expect(left.length).toBeLessThan(20);
    await later(2 * hour);
    await retain();
    expect(await ids()).toContain(pinned);
    expect(await ids()).not.toContain(leased);
  });

  it("that is killed between the manifest and the table's number has table and bucket list the same", async () => {
    const { as, vpg, retain, ids, site } = await begin();
    const before = (await ids()).length;
    const dying = as();
    const isManifest = (actions: unknown) => JSON.stringify(actions).includes('"sk":"manifest"');
    const table = new Proxy(dying.table, {
      get: (of, name) => {
        const member = Reflect.get(of, name);
        if (name !== "transact") return typeof member === "function" ? member.bind(of) : member;
        return (actions: Parameters<Table["transact"]>[0]) =>
          isManifest(actions) ? Promise.reject(new Error("killed")) : of.transact(actions);
      },
    });
    await expect(retain({ ...dying, table })).rejects.toThrow("killed");
    expect((await ids()).length).toBeLessThan(before);
    expect(await listedOffline(site, vpg.vpgId)).toEqual(await listed(site, vpg.vpgId));
  });

  it("waits while the site's clock stands alone, or is behind, and says so", async () => {
    const { retain, clock, vpg, site, ids, later } = await begin();
    const before = await ids();
    await clock.advance(3 * hour);
    expect(await retain()).toMatchObject({ waits: "no-second-clock" });
    expect(await ids()).toEqual(before);
    expect((await retentionStanding(site, vpg.vpgId)).waits).toBe("no-second-clock");
    await later(1000);
    expect(await retain()).toMatchObject({ waits: null });
    expect((await ids()).length).toBeLessThan(before.length);
  });
});

describe("packs", () => {
  it("take less than what they replace, which goes an hour later and not before; an open view goes on", async () => {
    const { retain, collect, later, objects, vpg, source, as } = await begin();
    const kept = source.instants[0];
    if (kept === undefined) throw new Error("no instant");
    const id = formatPosition(kept.position);
    await pinCheckpoint(as(), vpg.vpgId, id, "op");
    const views = viewsOf(new TableJournal(as(), vpg.vpgId), vpg, kept);
    for (const view of views) await view.read(0, Buffer.alloc(512));
    const count = async () => (await objects.list(`journal/${vpg.vpgId}/`)).length;
    const before = await count();
    expect((await retain())?.packed).toMatchObject({ lost: false });
    const packs = (await latestDigest(as(), vpg.vpgId))?.fields.packs ?? [];
    expect(packs.length).toBeGreaterThan(0);
    const sum = (of: (pack: (typeof packs)[number]) => number) => packs.reduce((total, pack) => total + of(pack), 0);
    expect(sum(({ bytes }) => bytes)).toBeLessThan(0.5 * sum(({ replacedBytes }) => replacedBytes));
    await later(1_000_000);
    expect(await collect()).toMatchObject({ deletedObjects: 0 });
    await later(hour);
    expect((await collect())?.deletedObjects).toBeGreaterThan(200);
    expect(await count()).toBeLessThan(before - 200);
    for (const view of views)
      await expectViews([view], {
        ...kept,
        images: new Map([...kept.images].filter(([volume]) => volume === view.volume)),
      });
  });

  it("end the time in which a batch may come again: it is refused, and nothing is stored", async () => {
    const { retain, collect, later, objects, vpg, caller, as } = await begin();
    const key = `journal/${vpg.vpgId}/0000000001/0000000001/000000000005`;
    const body = await objects.get(key);
    const sent = { vpgId: vpg.vpgId, term: 1, session: 1, batch: 5, body, ageMs: 0 };
    expect(await ingestBatch(as(), caller, sent)).toMatchObject({ duplicate: true });
    await retain();
    await later(hour);
    await collect();
    expect(await objects.head(key)).toBeUndefined();
    await expect(ingestBatch(as(), caller, sent)).rejects.toMatchObject({ name: "Fenced" });
    expect(await objects.head(key)).toBeUndefined();
  });

  it("are not hidden from a reader that knows none: it is refused by name", async () => {
    const { retain, vpg, as, ids } = await begin();
    const [newest = ""] = await ids();
    const upTo = parsePosition(newest);
    expect((await listBatches(as(), vpg, upTo)).batches.length).toBeGreaterThan(0);
    await retain();
    await expect(listBatches(as(), vpg, upTo)).rejects.toMatchObject({ name: "UnsupportedFormat" });
  });
});

describe("a reader without an operation", () => {
  it("keeps its checkpoint by a lease, and without one fails by name, over HTTP and offline", async () => {
    const { retain, collect, later, vpg, source, as, clock } = await begin();
    const [leased, left] = source.instants.slice(100, 102);
    if (leased === undefined || left === undefined) throw new Error("no instants");
    const { vpgId } = vpg;
    const leaseId = newId(clock, as().random);
    const lease = { leaseId, checkpointId: formatPosition(leased.position) };
    await takeLease(as(), vpgId, lease);
    const open = async ({ position: checkpoint, images }: typeof leased) => {
      const offline = await BucketJournal.open(as().objects, vpgId);
      offline.show(checkpoint);
      const site = as();
      const shown = { checkpoint: formatPosition(checkpoint) };
      const instant = { position: checkpoint, images };
      const views = [offline, overHttp(site, vpg, checkpoint, site.log, shown)].map((journal) =>
        viewsOf(journal, vpg, instant),
      );
      // Its index is there before anything is packed.
      for (const view of views.flat()) await view.read(0, Buffer.alloc(512));
      return views;
    };
    const [kept, lost] = [await open(leased), await open(left)];
    await retain();
    await later(50 * 60_000);
    await takeLease(as(), vpgId, lease);
    await later(50 * 60_000);
    await collect();
    for (const views of kept) await expectViews(views, leased);
    for (const view of lost.flat()) {
      const whole = Buffer.alloc(512 * 1024);
      await expect(view.read(0, whole)).rejects.toMatchObject({ name: "NoCheckpoint" });
      // Nor does it go on by what it learned.
      await expect(view.read(0, whole)).rejects.toMatchObject({ name: "NoCheckpoint" });
    }
    await expect(
      takeLease(as(), vpgId, { leaseId: newId(clock, as().random), checkpointId: formatPosition(left.position) }),
    ).rejects.toMatchObject({ name: "NoCheckpoint" });
    await releaseLease(as(), vpgId, leaseId);
    await retain();
    await expect(takeLease(as(), vpgId, lease)).rejects.toMatchObject({ name: "NoCheckpoint" });
  }, 120_000);

  it("is one of so many, until others have ended, and has one checkpoint", async () => {
    const { vpg, ids, as, clock } = await begin(oneInAnHour, 10);
    const [first = "", second = ""] = await ids();
    const take = (leaseId: Id, checkpointId = first) => takeLease(as(), vpg.vpgId, { leaseId, checkpointId });
    const all = Array.from({ length: limits.leasesMax }, () => newId(clock, as().random));
    for (const leaseId of all) await take(leaseId);
    await take(all[0] ?? newId(clock, as().random));
    await expect(take(all[0] ?? newId(clock, as().random), second)).rejects.toMatchObject({ name: "InvalidInput" });
    const more = newId(clock, as().random);
    await expect(take(more)).rejects.toMatchObject({ name: "LimitExceeded" });
    await clock.advance(limits.leaseMs);
    await take(more);
    const pins = async () =>
      (await listCheckpoints(as(), vpg.vpgId)).checkpoints.map(({ pinOwners }) => pinOwners.length);
    expect(Math.max(...(await pins()))).toBe(1);
    await releaseLease(as(), vpg.vpgId, more);
    await releaseLease(as(), vpg.vpgId, more);
    expect(Math.max(...(await pins()))).toBe(0);
  });
});

describe("the collector", () => {
  it("makes whoever works on an older manifest lose, and finds what a killed one left when it is old enough", async () => {
    const { retain, collect, later, objects, vpg, as } = await begin();
    await retain();
    await later(hour);
    // A pack that nothing names, as a killed run leaves it.
    const leak = `packs/${vpg.vpgId}/0000000001/000000000390-${(await latestDigest(as(), vpg.vpgId))?.fields.digestId}`;
    await objects.put(leak, Buffer.alloc(100));
    const number = (await latestManifest(as(), vpg.vpgId))?.manifest ?? 0;
    const collected = await collect();
    expect(collected).toMatchObject({ leakedBytes: 100 });
    expect(await objects.head(leak)).toBeUndefined();
    expect((await latestManifest(as(), vpg.vpgId))?.manifest).toBe(number + 1);
  });
});

describe("a journal limit", () => {
  it("with pause refuses batches by name and tells gateways to pause, until there is room", async () => {
    const { retain, vpg, site, source, as } = await begin({
      ...oneInAnHour,
      journalLimit: { bytes: 64 * 2 ** 20, policy: "pause" },
    });
    expect((await getVpg(site, vpg.vpgId)).journalFull).toBe(false);
    const { definition } = vpg;
    // The least limit there is is more than this journal has.
    const tight = {
      ...definition,
      retention: { ...oneInAnHour, journalLimit: { bytes: 1000, policy: "pause" as const } },
    };
    const full = { ...(await getVpg(site, vpg.vpgId)), definition: tight };
    await retainJournal(as(), full);
    expect((await getVpg(site, vpg.vpgId)).journalFull).toBe(true);
    source.moveTo(as());
    await expect(source.write(1)).rejects.toMatchObject({ name: "JournalFull" });
    await retain();
  });
});
