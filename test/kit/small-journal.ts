import { expect } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { compactJournal } from "#core/compaction/compact.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { formatPosition } from "#core/journal/position.ts";
import { verifyJournal } from "#core/journal/verify-journal.ts";
import { verifyLayers } from "#core/journal/verify-layers.ts";
import type { Objects, Table } from "#core/ports.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { latestDigest, latestManifest } from "#core/protection/manifests.ts";
import { openSession } from "#core/protection/open-session.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { commitDigest } from "#core/retention/commit-digest.ts";
import { retainJournal } from "#core/retention/retain.ts";
import type { Site } from "#core/site.ts";
import { listed, listedOffline } from "./listing.ts";
import { makeSite, openAsk, protect, twoVolumes } from "./site.ts";
import { Stream } from "./stream.ts";

const hour = 3_600_000;
/** Every checkpoint for a minute, one an hour for a day. */
export const oneInAnHour = {
  tiers: [
    { everyMs: 0, forMs: 60_000 },
    { everyMs: hour, forMs: 24 * hour },
  ],
  taggedMs: 24 * hour,
};

/** Sectors that take all writes, by turns. */
const places = 8;

type Batch = Parameters<Stream["next"]>[1];

/**
 * A journal that costs little to make: each batch writes one sector of eight, and the oracle of a checkpoint is who wrote each of them
 * last. `as` is another process of its site.
 */
export async function smallJournal(retention: NonNullable<typeof twoVolumes.retention> = oneInAnHour) {
  const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
  const site = makeSite({ objects, table });
  const { clock } = site;
  const { vpg, source: caller } = await protect(site, { ...twoVolumes, retention });
  const { vpgId } = vpg;
  let drawn = 100;
  const as = (over: { readonly objects?: Objects; readonly table?: Table } = {}): Site => {
    drawn += 1;
    return { ...makeSite({ objects, table, seed: drawn, ...over }), clock };
  };
  const instants = new Map<string, Buffer>();
  const firstSequences = new Map<string, number>();
  let image = Buffer.alloc(places);
  let stream: Stream | undefined;
  let writes = 0;
  const opened = (): Stream => {
    if (stream === undefined) throw new Error("no session");
    return stream;
  };
  const open = async () => {
    const ask = { lastSession: stream?.session ?? 0, acknowledgedBatch: (stream?.batch ?? 0) - 1 };
    stream = new Stream(vpgId, await openSession(site, caller, openAsk(site, vpgId, ask)));
    await ingestBatch(site, caller, stream.synced());
  };
  /** The next batch, made and not sent: a write, and a checkpoint unless other events are given. */
  const make = (events: Batch = [{ kind: "marker", time: clock.now(), tag: "" }]) => {
    writes += 1;
    const place = writes % places;
    image = Buffer.from(image);
    image[place] = 1 + (writes % 255);
    const bytes = new Uint8Array(512).fill(image[place] ?? 0);
    const volume = opened().volumes[0]?.volume ?? 0;
    firstSequences.set(`${opened().session}-${opened().batch}`, opened().sequence + 1);
    const sent = opened().next([{ volume, offset: 512 * place, bytes }], events, clock.now());
    const { session, sequence } = opened();
    if (events.some(({ kind }) => kind === "marker")) instants.set(formatPosition({ session, sequence }), image);
    return sent;
  };
  /** So many batches with a checkpoint each, ten seconds apart. */
  const write = async (batches: number, events?: Batch) => {
    for (let count = 0; count < batches; count += 1) {
      await clock.advance(10_000);
      await ingestBatch(site, caller, make(events));
    }
  };
  const compact = () => compactJournal(as(), vpgId);
  const retain = async (of = as()) => retainJournal(of, await getVpg(of, vpgId));
  const collect = async (of = as()) => collectJournal(of, await getVpg(of, vpgId));
  const ids = async () => (await listed(as(), vpgId)).map((line) => line.split(" ")[0] ?? "");
  const digest = async () => {
    const found = await latestDigest(as(), vpgId);
    if (found === undefined) throw new Error("no digest");
    return found;
  };
  /** Time goes by, with a source that goes on. */
  const later = async (ms: number, batches = 2) => {
    await clock.advance(ms);
    await write(batches);
  };
  const count = async (area: string) => (await objects.list(`${area}/${vpgId}/`)).length;
  /** What is listed is the same for all, each of it is exact, by table and by bucket, and nothing stored is wrong. */
  const expectExact = async () => {
    const lines = await listed(as(), vpgId);
    expect(await listedOffline(as(), vpgId)).toEqual(lines);
    const found = await latestDigest(as(), vpgId);
    if (found?.fields.thinnedThrough != null) expect(found.fields.kept.at(-1)).toBe(found.fields.thinnedThrough);
    const readers = [new TableJournal(as(), vpgId), await BucketJournal.open(objects, vpgId)];
    for (const line of lines) {
      const id = line.split(" ")[0] ?? "";
      const [session = 0, sequence = 0] = id.split("-").map(Number);
      for (const { from, to, lastSequence, session: own } of found?.fields.packs ?? []) {
        const ends = sequence >= lastSequence || sequence < (firstSequences.get(`${own}-${from}`) ?? 0);
        expect(own !== session || ends, `${id} inside the pack of batches ${from} to ${to}`).toBe(true);
      }
      for (const reader of readers) {
        const bytes = Buffer.alloc(places * 512);
        const volume = opened().volumes[0]?.volume ?? 0;
        const of = new View({
          reader: new JournalReader(reader),
          volume,
          sizeBytes: 64 * 2 ** 20,
          upTo: { session, sequence },
        });
        await of.read(0, bytes);
        const seen = Buffer.from(Array.from({ length: places }, (_, place) => bytes[place * 512] ?? 0));
        expect(seen.equals(instants.get(id) ?? Buffer.alloc(0)), `the image of ${id}`).toBe(true);
      }
    }
    const problems = [
      ...(await verifyJournal(objects, vpgId)).problems,
      ...(await verifyLayers(objects, vpgId)).problems,
    ];
    expect(problems).toEqual([]);
  };
  const send = (sent: ReturnType<typeof make>) => ingestBatch(as(), caller, sent);
  await open();
  return {
    ...{ objects, table, site, clock, vpg, vpgId, caller, as, open, make, send, write, compact, retain, collect, ids },
    ...{ digest, later, count, expectExact, stream: opened },
  };
}

export type SmallJournal = Awaited<ReturnType<typeof smallJournal>>;

/** A journal that is old enough to be thinned, all of it in layers. */
export async function agedSmall(batches = 40): Promise<SmallJournal> {
  const world = await smallJournal();
  await world.write(batches);
  await world.compact();
  return world;
}

/** A manifest of another process, with a digest that says the same as the one before. */
export const anotherManifest = async ({ as, vpgId, digest }: SmallJournal): Promise<boolean> => {
  const manifest = await latestManifest(as(), vpgId);
  return commitDigest(as(), vpgId, { manifest, digest: await digest() }, {});
};

/** A VPG that has been thinned and packed, and whose batches could be deleted now. */
export async function packedSmall(): Promise<SmallJournal> {
  const world = await agedSmall();
  expect((await world.retain())?.packed?.packs).toBeGreaterThan(0);
  await world.later(hour + 60_000);
  return world;
}

/** The virtual clock's parts, as a plain object. */
export function clockOf({ clock }: Site): Site["clock"] {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  };
}
