import { beforeEach, describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { batchKey } from "#core/journal/keys.ts";
import { verifyJournal } from "#core/journal/verify-journal.ts";
import type { Caller } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { makeSite, openAsk, protect, type TestSite } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { ingestBatch, type SentBatch } from "./ingest.ts";
import { items } from "./items.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import type { VpgRecord } from "./vpg-store.ts";

const noon = Date.UTC(2030, 0, 1, 12);

let site: TestSite;
let other: TestSite;
let vpg: VpgRecord;
let source: Caller;
let stream: Stream;

/** Another process of the same site: it shares the bucket and the table, and knows nothing of what the first one knows. */
const anotherProcess = (): TestSite => ({ ...site });

/** Batches 0 to 2 of the session; the last two end with a checkpoint. */
beforeEach(async () => {
  site = makeSite();
  other = anotherProcess();
  const made = await protect(site);
  vpg = made.vpg;
  source = made.source;
  stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  await ingestBatch(site, source, stream.synced());
  await ingestBatch(other, source, stream.checkpoint(noon, "first"));
  await ingestBatch(site, source, stream.checkpoint(noon + 1));
});

/** Every reader's listing, which must be one. */
async function agreed(): Promise<readonly string[]> {
  const truth = await listed(site, vpg.vpgId);
  expect(await listed(anotherProcess(), vpg.vpgId)).toEqual(truth);
  expect(await listedOffline(site, vpg.vpgId)).toEqual(truth);
  const rebuilt = { ...site, table: new SqliteTable(":memory:") };
  await rebuildTable(rebuilt);
  expect(await listed(rebuilt, vpg.vpgId)).toEqual(truth);
  return truth.map((line) => line.split(" ")[0] ?? "");
}

const row = async (batch: number) =>
  (await site.table.query(items.batch(vpg.vpgId, 0, 0).pk)).items.find(({ fields }) => fields["batch"] === batch);
const keyOf = (sent: SentBatch) => batchKey(sent);

describe("a batch that breaks its session's chain and was stored by a process that couldn't know", () => {
  it("ends the valid run for the site, the offline reader, verification and a rebuild alike", async () => {
    const missing = stream.checkpoint(noon + 2);
    const rival = stream.clone(true).checkpoint(noon + 3, "rival");
    const own = stream.checkpoint(noon + 3);
    await ingestBatch(other, source, rival);
    await ingestBatch(site, source, missing);
    await expect(ingestBatch(site, source, own)).rejects.toMatchObject({ name: "Diverged" });
    expect(await agreed()).toEqual(["1-10", "1-8", "1-6"]);
    const report = await verifyJournal(site.objects, vpg.vpgId);
    expect(report.problems).toMatchObject([{ key: keyOf(rival), error: "Diverged" }]);
    expect(report).toMatchObject({ batches: 4, voidObjects: 1, checkpoints: 3 });
    await expect(ingestBatch(anotherProcess(), source, stream.checkpoint(noon + 4))).rejects.toMatchObject({
      name: "Diverged",
    });
    const next = await openSession(anotherProcess(), source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    expect(next).toMatchObject({ session: 2, continues: false, journalEnd: { session: 1, sequence: 10 } });
    expect(await agreed()).toEqual(["1-10", "1-8", "1-6"]);
  });

  /** A rival two batches ahead whose sequences stand among those of the valid run, `back` behind its end. */
  function amongValid(back: number): SentBatch {
    const rival = stream.clone(true);
    rival.batch += 1;
    rival.sequence -= back;
    return rival.checkpoint(noon + 9, "rival");
  }

  it("lists no marker of it, though its sequence is one of the valid run", async () => {
    await ingestBatch(anotherProcess(), source, amongValid(3));
    await ingestBatch(site, source, stream.checkpoint(noon + 2));
    expect(await agreed()).toEqual(["1-10", "1-8", "1-6"]);
  });

  it("takes no valid checkpoint's place, whichever came first", async () => {
    await ingestBatch(anotherProcess(), source, amongValid(2));
    expect(await agreed()).toEqual(["1-8", "1-6"]);
    const late = stream.checkpoint(noon + 2, "ours");
    const rival = stream.clone(true);
    rival.batch += 1;
    rival.sequence -= 2;
    await ingestBatch(anotherProcess(), source, rival.checkpoint(noon + 9, "rival"));
    await ingestBatch(site, source, late);
    expect(await agreed()).toEqual(["1-10", "1-8", "1-6"]);
    expect((await listed(site, vpg.vpgId))[0]).toContain("ours");
  });

  it("gets no row when the table is mended from the bucket, and a valid one does", async () => {
    const valid = stream.checkpoint(noon + 2);
    const rival = stream.clone(true).checkpoint(noon + 3);
    for (const sent of [valid, rival]) await site.objects.put(keyOf(sent), sent.body, { ifAbsent: true });
    expect(await agreed()).toEqual(["1-10", "1-8", "1-6"]);
    expect(await row(valid.batch)).toBeDefined();
    expect(await row(rival.batch)).toBeUndefined();
  });
});

it("a batch whose item was lost, and whose events' item was not, is recorded again from the bucket", async () => {
  const { pk } = items.batch(vpg.vpgId, 0, 0);
  const keys = async () => (await site.table.query(pk)).items.map(({ sk }) => sk);
  const before = await keys();
  await site.table.transact(before.map((sk) => ({ delete: { pk, sk } })));
  expect(await agreed()).toEqual(["1-8", "1-6"]);
  expect(await keys()).toEqual(before);
});
