import { describe, expect, it } from "vitest";
import type { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { sessionClaimKey, termKey } from "#core/journal/keys.ts";
import { formatPosition } from "#core/journal/position.ts";
import { decodeSessionClaim, encodeSessionClaim } from "#core/journal/session-claim.ts";
import { verifyJournal } from "#core/journal/verify-journal.ts";
import { jsonBytes } from "#core/json.ts";
import type { Objects } from "#core/ports.ts";
import { pinCheckpoint, unpinCheckpoint } from "#core/protection/checkpoints.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { leaseOf } from "#core/protection/pins.ts";
import { rebuildTable } from "#core/protection/rebuild.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { agedJournal } from "../../test/kit/aged-journal.ts";
import { listedOffline } from "../../test/kit/listing.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { operator } from "../../test/kit/site.ts";
import { expectViews, viewsOf } from "../../test/kit/written-source.ts";
import { retentionLimits as limits } from "./limits.ts";
import { purgeDeletedVpgs } from "./purge-deleted.ts";
import { retainJournal } from "./retain.ts";

const hour = 3_600_000;
const day = 24 * hour;

/** A journal with layers, packs, a digest and two sessions, whose VPG is deleted at once unless `kept`. */
async function begin(kept: "kept" | "deleted" = "deleted") {
  const journal = await agedJournal({ seed: 3, batches: [150, 40] });
  const { objects, table, site, clock, vpgId, as } = journal;
  await retainJournal(as(), await getVpg(as(), vpgId));
  if (kept === "deleted") await deleteVpg(as(), operator, vpgId);
  const purge = async (of = as()) => (await purgeDeletedVpgs(of, Number.POSITIVE_INFINITY))[vpgId];
  /** A run of the collector every hour. */
  const live = async (ms: number) => {
    for (let gone = 0; gone < ms; gone += hour) {
      await purge();
      await clock.advance(hour);
    }
  };
  const left = async () => {
    const areas = ["journal", "packs", "layers", "digests", "manifests"];
    const counts = await Promise.all(
      areas.map(async (area) => [area, (await objects.list(`${area}/${vpgId}/`)).length] as const),
    );
    return Object.fromEntries(counts);
  };
  const offline = () => listedOffline(site, vpgId);
  const rows = async () => (await table.query(`vpg#${vpgId}#batches`)).items.length;
  return { ...journal, purge, live, left, offline, rows };
}

const claimOf = async (objects: Objects, vpgId: string, session: number) =>
  decodeSessionClaim(await objects.get(sessionClaimKey(vpgId, session)));

/** The seals of two sessions; the newest manifest with its digest. */
const remains = { journal: 2, packs: 0, layers: 0, digests: 1, manifests: 1 };

describe("the journal of a deleted VPG", () => {
  it("is whole for a week, and the offline reader shows it; then all of it goes but seals and the last manifest", async () => {
    const { objects, live, left, offline, rows, purge, vpg, vpgId, source } = await begin();
    const before = await left();
    expect(before).toMatchObject({ packs: expect.any(Number) });
    expect(before["packs"]).toBeGreaterThan(0);
    const listed = await offline();
    expect(listed.length).toBeGreaterThan(2);
    await live(limits.deletedKeptMs - hour);
    expect(await left()).toEqual(before);
    expect(await offline()).toEqual(listed);
    const newest = source.instants.at(-1);
    if (newest === undefined) throw new Error("no instants");
    await expectViews(viewsOf(await BucketJournal.open(objects, vpgId), vpg, newest), newest);
    await live(2 * hour);
    expect(await left()).toEqual(remains);
    expect(await rows()).toBe(0);
    expect(await offline()).toEqual([]);
    // It was the run before that did it, and none does it again.
    expect(await purge()).toBeUndefined();
    expect((await verifyJournal(objects, vpgId)).problems).toEqual([]);
  });

  it.each([
    ["before the digest", 0, 0],
    ["between digest and manifest", 1, 0],
    ["before the objects", 2, 0],
    ["after some of the objects", 2, 0.3],
    ["after most of the objects", 2, 0.9],
  ])(
    "that is cut off %s lists nothing of which parts are gone, and is purged by a later run",
    async (_, calls, part) => {
      const { objects, clock, live, left, offline, purge, as } = await begin();
      const listed = await offline();
      await live(limits.deletedKeptMs);
      await expect(purge(as({ objects: killedAfter(objects, calls, part) }))).rejects.toThrow("killed");
      expect(await offline()).toEqual(calls < 2 ? listed : []);
      // The table may be lost as well, and with it for how long the VPG was seen to be deleted.
      const rebuilt = as({ table: new SqliteTable(":memory:") });
      await rebuildTable(rebuilt);
      for (let gone = 0; gone <= limits.deletedKeptMs; gone += hour) {
        await purge(rebuilt);
        await clock.advance(hour);
      }
      expect(await left()).toEqual(remains);
    },
  );

  it.each(["session", "term"] as const)(
    "stays when a %s is younger than the deletion: a table of before let it be used again",
    async (kind) => {
      const { objects, clock, live, left, vpgId, as } = await begin();
      const before = await left();
      await clock.advance(1);
      const now = clock.now();
      if (kind === "session") {
        const claim = { ...(await claimOf(objects, vpgId, 2)), session: 3, openedAt: now };
        await objects.put(sessionClaimKey(vpgId, 3), encodeSessionClaim(claim));
      } else {
        const term = { ...(await highestTerm(as(), vpgId)), n: 2, mintedAt: now };
        await objects.put(termKey(vpgId, 2, as().siteId), jsonBytes(term));
      }
      await live(limits.deletedKeptMs + 2 * hour);
      expect(await left()).toEqual(before);
    },
  );

  it("stays while the site's clock alone says that a week is over", async () => {
    const { clock, purge, left, live } = await begin();
    await purge();
    const before = await left();
    await clock.advance(365 * day);
    expect(await purge()).toBeUndefined();
    expect(await left()).toEqual(before);
    await live(limits.deletedKeptMs);
    expect((await left())["packs"]).toBe(0);
  });

  it("stays while something pins a checkpoint of it", async () => {
    const { clock, live, left, as, vpgId, source } = await begin("kept");
    const [first, second] = source.instants.slice(-2).map(({ position }) => formatPosition(position));
    await pinCheckpoint(as(), vpgId, first ?? "", "op");
    await pinCheckpoint(as(), vpgId, second ?? "", leaseOf("view", clock.now() + limits.deletedKeptMs + day));
    const before = await left();
    await deleteVpg(as(), operator, vpgId);
    await live(limits.deletedKeptMs + 12 * hour);
    expect(await left()).toMatchObject({ packs: before["packs"], layers: before["layers"] });
    await unpinCheckpoint(as(), vpgId, first ?? "", "op");
    await live(6 * hour);
    expect((await left())["packs"]).toBe(before["packs"]);
    await live(day);
    expect(await left()).toEqual(remains);
  });

  it("stays when the table was restored from a copy in which the VPG is not deleted", async () => {
    const { as, objects, live, left, vpgId } = await begin("kept");
    const before = await left();
    const other = as({ table: new SqliteTable(":memory:") });
    await rebuildTable(other);
    await deleteVpg(other, operator, vpgId);
    // `live` runs over the first table, which knows nothing of that.
    await live(limits.deletedKeptMs + day);
    expect(await left()).toEqual({ ...before, journal: (before["journal"] ?? 0) + 1 });
    expect(await objects.head(`deleted-vpgs/${vpgId}.json`)).toBeDefined();
  });

  it("takes no batch again", async () => {
    const { as, objects, live, vpgId, caller } = await begin();
    const key = `journal/${vpgId}/0000000001/0000000002/000000000005`;
    const body = await objects.get(key);
    await live(limits.deletedKeptMs + 2 * hour);
    const sent = { vpgId, term: 1, session: 2, batch: 5, body, ageMs: 0 };
    await expect(ingestBatch(as(), caller, sent)).rejects.toMatchObject({ name: "Fenced" });
    expect(await objects.head(key)).toBeUndefined();
  });
});

/** Dies at the call behind so many puts and purges; a purge that it dies in has deleted a part. */
function killedAfter(objects: MemoryObjects, calls: number, part: number): Objects {
  const random = new SeededRandom(calls);
  let left = calls;
  const isDead = () => {
    left -= 1;
    return left < 0;
  };
  return new Proxy(objects, {
    get(of, name) {
      if (name === "put") {
        return (...args: Parameters<Objects["put"]>) =>
          isDead() ? Promise.reject(new Error("killed")) : of.put(...args);
      }
      if (name === "purge") {
        return async (keys: readonly string[]) => {
          if (!isDead()) return of.purge(keys);
          await of.purge(keys.filter(() => random.chance(part)));
          throw new Error("killed");
        };
      }
      const member = Reflect.get(of, name);
      return typeof member === "function" ? member.bind(of) : member;
    },
  });
}
