import { describe, expect, it } from "vitest";
import { fileTrouble } from "#adapters/embedded/file-errors.ts";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import { Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { digestKey, layerPartKey, packKey, parseBatchKey } from "#core/journal/keys.ts";
import { digestOf } from "#core/journal/manifest.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import { failoverCheck } from "#core/protection/failover-check.ts";
import { newestManifest } from "#core/protection/manifests.ts";
import { lastingAlerts } from "#core/protection/vpg-alerts.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { retainJournal } from "#core/retention/retain.ts";
import type { Site } from "#core/site.ts";
import { Life, mortal } from "../../test/kit/mortal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, openAsk, protect, twoVolumes } from "../../test/kit/site.ts";
import { WrittenSource } from "../../test/kit/written-source.ts";
import { scrubLimits as limits } from "./limits.ts";
import { readScrub } from "./record.ts";
import { askJournalRound, scrubJournal } from "./scrub-journals.ts";
import { scrubReport } from "./view.ts";

const hour = 3_600_000;
/** Areas whose newest object every run begins with. */
const standing: ReadonlySet<string> = new Set(["manifests", "digests"]);
const retention = { tiers: [{ everyMs: 600_000, forMs: 24 * hour }], taggedMs: 24 * hour };

/** A journal of three sessions with layers, packs, manifests and a digest, half of its batches replaced. */
async function begin(scrub: { readonly journalBytesPerSecond?: number } = {}) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const made = await protect(site, { ...twoVolumes, retention, scrub });
  const { vpgId } = made.vpg;
  const source = new WrittenSource(site, {
    ...{ vpgId, caller: made.source, random: new SeededRandom(5) },
    volumes: openAsk(site, vpgId).volumes,
    nextTime: async () => {
      await clock.advance(5000);
      return clock.now();
    },
  });
  for (let session = 0; session < 3; session += 1) {
    await source.open();
    await source.write(45);
  }
  await compactJournal(site, vpgId);
  await retainJournal(site, await getVpg(site, vpgId));
  await source.write(40);
  await compactJournal(site, vpgId);
  const scrubOnce = async (of: Site = site) => scrubJournal(of, await getVpg(of, vpgId));
  /** Runs as the schedule does until the round under way is over. */
  const wholeRound = async (): Promise<number> => {
    for (let run = 1; ; run += 1) {
      await scrubOnce();
      if ((await readScrub(site, vpgId)).record.round === null) return run;
      await clock.advance(300_000);
    }
  };
  /** Once more through all of it: nothing is wrong any more. */
  const expectWhole = async (): Promise<void> => {
    await wholeRound();
    const { journal } = await scrubReport(site, await getVpg(site, vpgId));
    expect(journal).toMatchObject({ findings: 0, coveragePercent: 100 });
  };
  return { objects, table, site, clock, vpgId, made, source, scrubOnce, wholeRound, expectWhole };
}

async function keysOf(objects: Objects, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(objects, prefix)) keys.push(key);
  return keys;
}

/** An object of the area that readers need. */
async function someKey(site: Site, vpgId: Id, area: string): Promise<string> {
  const manifest = await newestManifest(site, vpgId);
  if (area === "digests") return digestKey(vpgId, manifest?.digest?.digestId ?? "");
  if (area === "layers") return layerPartKey({ vpgId, layerId: manifest?.layers.at(-1)?.layerId ?? "", part: 0 });
  if (area === "packs") {
    const [pack] = (await digestOf(site.objects, manifest))?.fields.packs ?? [];
    return packKey({ vpgId, session: pack?.session ?? 0, batch: pack?.from ?? 0 }, pack?.packId ?? "");
  }
  return (await keysOf(site.objects, `${area}/`)).at(area === "journal" ? -3 : -1) ?? "";
}

/** One bit in the middle of the object, behind the site's back; answers how to mend it. */
async function flip(objects: MemoryObjects, key: string, at?: number): Promise<() => Promise<unknown>> {
  const good = await objects.get(key);
  const bad = Buffer.from(good);
  const place = at ?? Math.floor(bad.length / 2);
  bad[place] = (bad[place] ?? 0) ^ 4;
  await objects.put(key, bad);
  return () => objects.put(key, good);
}

/** Notes what is read from its beginning to its end. */
function spied(target: MemoryObjects, name: string | symbol, read: Set<string>): unknown {
  const member: unknown = Reflect.get(target, name);
  if (typeof member !== "function") return member;
  return (...args: unknown[]): unknown => {
    if (name === "get" && args.length === 1) read.add(String(args[0]));
    return Reflect.apply(member, target, args);
  };
}

function bound(target: MemoryObjects, name: string | symbol): unknown {
  const member: unknown = Reflect.get(target, name);
  return typeof member === "function" ? (...args: unknown[]): unknown => Reflect.apply(member, target, args) : member;
}

const isDamage = ({ what }: { readonly what: string }): boolean => what === "journal";

describe("the scrub of a journal", () => {
  it("reads every object that a reader may need in one round, and finds a whole journal good", async () => {
    const { objects, site, clock, vpgId } = await begin();
    const read = new Set<string>();
    const whole = { ...site, objects: new Proxy(objects, { get: (target, name) => spied(target, name, read) }) };
    for (let run = 0; run === 0 || (await readScrub(site, vpgId)).record.round !== null; run += 1) {
      await scrubJournal(whole, await getVpg(site, vpgId));
      await clock.advance(300_000);
    }
    const { journal } = await scrubReport(site, await getVpg(site, vpgId));
    expect(journal).toMatchObject({ coveragePercent: 100, findings: 0, startedAt: null });
    const { digest } = await BucketJournal.open(objects, vpgId);
    const replaced = (key: string): boolean => {
      const place = parseBatchKey(key);
      const packs = place === undefined ? [] : (digest?.packsOf(place.session) ?? []);
      return packs.some(({ from, to }) => place !== undefined && from <= place.batch && place.batch < to);
    };
    const needed = (await keysOf(objects, "journal/")).filter((key) => !replaced(key));
    expect(needed.length).toBeGreaterThan(20);
    for (const pack of digest?.fields.packs ?? []) {
      needed.push(packKey({ vpgId, session: pack.session, batch: pack.from }, pack.packId));
    }
    expect(digest?.fields.packs.length).toBeGreaterThan(1);
    for (const { layerId, parts } of (await newestManifest(site, vpgId))?.layers ?? []) {
      for (const part of parts.keys()) needed.push(layerPartKey({ vpgId, layerId, part }));
    }
    needed.push(...(await keysOf(objects, "sessions/")));
    expect(needed.filter((key) => !read.has(key))).toEqual([]);
  });

  it.each(["journal", "packs", "layers", "sessions", "manifests", "digests"])(
    "names a bit that changed in %s/ within one round, raises an alert, and takes both back when it is mended",
    async (area) => {
      const { objects, site, clock, vpgId, wholeRound, scrubOnce } = await begin();
      await wholeRound();
      const key = await someKey(site, vpgId, area);
      // Nothing but the shape of a session's object says that it is whole.
      const mend = await flip(objects, key, area === "sessions" ? 0 : undefined);
      // Another process of the site: what this one holds in memory says nothing of the bucket.
      const other = { ...makeSite({ objects, table: site.table, seed: 9 }), clock };
      await askJournalRound(other, await getVpg(other, vpgId));
      await scrubOnce(other);
      const { journal } = await scrubReport(other, await getVpg(other, vpgId));
      expect(journal.list.map((finding) => finding.key)).toEqual([key]);
      expect(journal.list[0]?.foundAt).toBe(clock.now());
      if (!["sessions", "manifests", "digests"].includes(area)) {
        const alerts = lastingAlerts(await vpgView(other, await getVpg(other, vpgId)));
        expect(alerts.filter(({ alertId }) => alertId === "journal-damaged:shop")).toHaveLength(1);
      }
      await mend();
      await clock.advance(limits.recheckEveryMs);
      await scrubOnce(other);
      expect((await scrubReport(other, await getVpg(other, vpgId))).journal.findings).toBe(0);
    },
  );

  it.each(["journal", "packs", "layers", "sessions"])(
    "names an object of %s/ that is gone, goes on behind it, and sees it come back",
    async (area) => {
      const { objects, site, clock, vpgId, scrubOnce, expectWhole } = await begin();
      const key = await someKey(site, vpgId, area);
      const bytes = await objects.get(key);
      await objects.delete(key);
      const other = { ...makeSite({ objects, table: site.table, seed: 9 }), clock };
      await askJournalRound(other, await getVpg(other, vpgId));
      await scrubOnce(other);
      const { journal } = await scrubReport(other, await getVpg(other, vpgId));
      expect(journal.list.map((finding) => [finding.key, finding.error])).toEqual([[key, "NotFound"]]);
      await objects.put(key, bytes);
      await clock.advance(limits.recheckEveryMs);
      await scrubOnce(other);
      expect((await scrubReport(other, await getVpg(other, vpgId))).journal.findings).toBe(0);
      await expectWhole();
    },
  );

  it("keeps to its rate, whatever the times at which it is called, and makes up for little that was missed", async () => {
    const rate = 2000;
    const { site, clock, vpgId, scrubOnce } = await begin({ journalBytesPerSecond: rate });
    const random = new SeededRandom(11);
    const largest = 700 * 1024;
    const startedAt = clock.now();
    let read = 0;
    // What may be made up for before the first run.
    const saved = (limits.savedMsMax * rate) / 1000;
    for (let run = 0; run < 60 && (await readScrub(site, vpgId)).record.last === null; run += 1) {
      read += (await scrubOnce()).bytes;
      expect(read).toBeLessThanOrEqual(saved + ((clock.now() - startedAt) * rate) / 1000 + largest);
      await clock.advance(1000 * random.below(200));
    }
    const { record } = await readScrub(site, vpgId);
    expect(record.last?.bytes ?? 0).toBeGreaterThan(2 * saved);
    // And it doesn't dawdle: what was earned is read.
    expect(read + largest).toBeGreaterThan(((clock.now() - startedAt) * rate) / 1000 / 2);
  });

  it("reads nothing at rate 0, but a round that a person asks for", async () => {
    const { site, vpgId, scrubOnce } = await begin({ journalBytesPerSecond: 0 });
    expect(await scrubOnce()).toMatchObject({ bytes: 0 });
    expect((await scrubReport(site, await getVpg(site, vpgId))).journal).toMatchObject({
      coveragePercent: 0,
      ageMs: null,
    });
    await askJournalRound(site, await getVpg(site, vpgId));
    await site.clock.advance(60_000);
    expect((await scrubOnce()).bytes).toBeGreaterThan(0);
    expect((await scrubReport(site, await getVpg(site, vpgId))).journal.coveragePercent).toBe(100);
  });

  it("killed between any two of its calls counts nothing as read that wasn't, and finds what is damaged all the same", async () => {
    const { objects, table, site, clock, vpgId, scrubOnce } = await begin({ journalBytesPerSecond: 600 });
    const key = await someKey(site, vpgId, "journal");
    await flip(objects, key);
    const random = new SeededRandom(3);
    let reads = 0;
    let kills = 0;
    for (let run = 0; run < 200 && (await readScrub(site, vpgId)).record.last === null; run += 1) {
      const life = new Life();
      let left = 1 + random.below(80);
      const onCall = (method: string): void => {
        if (method === "get") reads += 1;
        left -= 1;
        if (left === 0) life.kill();
      };
      const dying = {
        ...makeSite({ table: mortal(table, life, onCall), seed: 20 + run, objects: mortal(objects, life, onCall) }),
        clock,
      };
      const before = (await readScrub(site, vpgId)).record;
      if ((await life.race(scrubJournal(dying, await getVpg(site, vpgId)))) === "killed") kills += 1;
      const after = (await readScrub(site, vpgId)).record;
      // It never claims more objects than were read in all lives together.
      expect(after.round?.objects ?? after.last?.objects ?? 0).toBeLessThanOrEqual(reads);
      if (before.round !== null && after.round !== null)
        expect(after.round.objects).toBeGreaterThanOrEqual(before.round.objects);
      await clock.advance(limits.runEveryMs);
    }
    expect(kills).toBeGreaterThan(3);
    await clock.advance(limits.recheckEveryMs);
    await scrubOnce();
    const { journal } = await scrubReport(site, await getVpg(site, vpgId));
    expect(journal).toMatchObject({ coveragePercent: 100 });
    expect(journal.list.map((finding) => finding.key)).toEqual([key]);
  });

  it("of two at the same time only one counts", async () => {
    const { site, objects, clock, vpgId } = await begin();
    const other = { ...makeSite({ objects, table: site.table, seed: 9 }), clock };
    const vpg = await getVpg(site, vpgId);
    const both = await Promise.all([scrubJournal(site, vpg), scrubJournal(other, vpg)]);
    expect(both.filter(({ lost }) => lost)).toHaveLength(1);
  });

  it("begins the next round in its time", async () => {
    const { site, clock, vpgId, wholeRound, scrubOnce } = await begin();
    await wholeRound();
    const { last } = (await readScrub(site, vpgId)).record;
    await clock.advance(limits.roundMs / 2);
    expect(await scrubOnce()).toMatchObject({ bytes: 0 });
    expect((await scrubReport(site, await getVpg(site, vpgId))).journal.ageMs).toBe(
      clock.now() - (last?.startedAt ?? 0),
    );
    await clock.advance(limits.roundMs / 2);
    expect((await scrubOnce()).bytes).toBeGreaterThan(0);
  });

  it("comes to its end although much is damaged, and reads all of that again, a few at a time", async () => {
    const rate = 100;
    const { objects, site, clock, vpgId, scrubOnce, wholeRound } = await begin({ journalBytesPerSecond: rate });
    const packs = (await digestOf(objects, await newestManifest(site, vpgId)))?.fields.packs ?? [];
    const keys = (await keysOf(objects, "journal/")).slice(-2 * limits.recheckFindings);
    for (const { session, from, packId } of packs) keys.push(packKey({ vpgId, session, batch: from }, packId));
    const mends = await Promise.all(keys.map((key) => flip(objects, key)));
    await askJournalRound(site, await getVpg(site, vpgId));
    await wholeRound();
    const { findings, totalBytes } = (await readScrub(site, vpgId)).record;
    expect(findings.map(({ key }) => key).sort()).toEqual([...keys].sort());
    const warned = async () => (await failoverCheck(site, await getVpg(site, vpgId))).items.filter(isDamage);
    expect(await warned()).toMatchObject([{ state: "warning", detail: expect.stringContaining(`: ${keys.length};`) }]);
    await clock.advance(limits.roundMsLeast);
    const startedAt = clock.now();
    // What is read again takes nothing from the round, which is as quick as without.
    const runsMost = Math.ceil((totalBytes * 1000) / rate / limits.runEveryMs) + 3;
    let runs = 0;
    while (((await readScrub(site, vpgId)).record.last?.startedAt ?? 0) < startedAt) {
      runs += 1;
      expect(runs).toBeLessThanOrEqual(runsMost);
      await scrubOnce();
      await clock.advance(limits.runEveryMs);
    }
    for (const mend of mends) await mend();
    for (let left = keys.length; left > 0; left -= limits.recheckFindings) {
      await clock.advance(limits.recheckEveryMs);
      await scrubOnce();
    }
    expect((await readScrub(site, vpgId)).record.findings).toEqual([]);
    expect(await warned()).toEqual([]);
  });

  it.each(["journal", "packs", "layers", "sessions", "manifests", "digests"])(
    "names an object of %s/ that lies on a bad sector, and goes on behind it",
    async (area) => {
      const { objects, site, clock, vpgId, scrubOnce, expectWhole } = await begin();
      const key = await someKey(site, vpgId, area);
      const get: Objects["get"] = async (asked, range) => {
        if (asked === key) throw fileTrouble(Object.assign(new Error("read"), { code: "EIO" }), `Object ${key}`, key);
        return objects.get(asked, range);
      };
      const over = new Proxy(objects, { get: (target, name) => (name === "get" ? get : bound(target, name)) });
      const other = { ...makeSite({ objects: over, table: site.table, seed: 9 }), clock };
      await askJournalRound(other, await getVpg(other, vpgId));
      await scrubOnce(other);
      const { journal } = await scrubReport(other, await getVpg(other, vpgId));
      expect(journal.list.map((finding) => [finding.key, finding.error])).toEqual([[key, "Corrupt"]]);
      expect(journal.first).toContain("could not be read");
      await clock.advance(limits.recheckEveryMs);
      await scrubOnce();
      await expectWhole();
    },
  );

  it.each(["journal", "packs", "layers", "sessions", "manifests", "digests"])(
    "goes on behind an object of %s/ that the store doesn't give for long, tells of it, and reads it again in the next round",
    async (area) => {
      const { objects, site, clock, vpgId, scrubOnce, expectWhole } = await begin();
      const key = await someKey(site, vpgId, area);
      let asks = 0;
      const get: Objects["get"] = async (asked, range) => {
        if (asked !== key) return objects.get(asked, range);
        asks += 1;
        throw new Transient("500", { key });
      };
      const over = new Proxy(objects, { get: (target, name) => (name === "get" ? get : bound(target, name)) });
      const other = { ...makeSite({ objects: over, table: site.table, seed: 9 }), clock };
      await askJournalRound(other, await getVpg(other, vpgId));
      for (let run = 1; run < limits.unreadableRuns; run += 1) {
        await expect(scrubOnce(other)).rejects.toThrow("500");
        expect((await readScrub(site, vpgId)).record.findings).toEqual([]);
        await clock.advance(limits.runEveryMs);
      }
      await scrubOnce(other);
      const { round, last, findings } = (await readScrub(site, vpgId)).record;
      expect(findings.map((finding) => [finding.key, finding.error])).toEqual([[key, "Corrupt"]]);
      // Without what names all else nothing is read; behind the others the round has come to its end.
      expect([round === null, last !== null]).toEqual(standing.has(area) ? [false, false] : [true, true]);
      const [alert] = lastingAlerts(await vpgView(site, await getVpg(site, vpgId)));
      expect(alert).toMatchObject({
        alertId: "journal-damaged:shop",
        text: expect.stringContaining("could not be read"),
      });
      const asked = asks;
      await clock.advance(limits.recheckEveryMs);
      await askJournalRound(other, await getVpg(other, vpgId));
      await scrubOnce(other);
      expect(asks).toBeGreaterThan(asked);
      await clock.advance(limits.recheckEveryMs);
      await scrubOnce();
      await expectWhole();
    },
  );

  it("concludes nothing of any object while the store as a whole is away", async () => {
    const { objects, site, clock, vpgId, scrubOnce } = await begin();
    const away = () => Promise.reject(new Transient("away"));
    const over = new Proxy(objects, {
      get: (target, name) => (name === "get" || name === "list" ? away : bound(target, name)),
    });
    const other = { ...makeSite({ objects: over, table: site.table, seed: 9 }), clock };
    for (let run = 0; run <= 2 * limits.unreadableRuns; run += 1) {
      await expect(scrubOnce(other)).rejects.toThrow("away");
      await clock.advance(limits.runEveryMs);
    }
    expect((await readScrub(site, vpgId)).record).toMatchObject({ findings: [], held: null });
  });

  it("keeps what it read before the store was away in the midst of it", async () => {
    const { objects, site, clock, vpgId, scrubOnce } = await begin();
    await askJournalRound(site, await getVpg(site, vpgId));
    const keys = await keysOf(objects, "journal/");
    const damaged = keys.at(-6) ?? "";
    await flip(objects, damaged);
    const get: Objects["get"] = async (asked, range) => {
      if (asked === keys.at(-2) && range === undefined) throw new Transient("away");
      return objects.get(asked, range);
    };
    const over = new Proxy(objects, { get: (target, name) => (name === "get" ? get : bound(target, name)) });
    const other = { ...makeSite({ objects: over, table: site.table, seed: 9 }), clock };
    await expect(scrubOnce(other)).rejects.toThrow("away");
    const { round, findings } = (await readScrub(site, vpgId)).record;
    expect(findings.map(({ key }) => key)).toEqual([damaged]);
    expect(round?.objects ?? 0).toBeGreaterThan(20);
  });
});
