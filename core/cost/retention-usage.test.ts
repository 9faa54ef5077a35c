import { expect, it } from "vitest";
import { compactJournal } from "#core/compaction/compact.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { retainJournal } from "#core/retention/retain.ts";
import { Meters } from "../../test/kit/meters.ts";
import { makeSite, openAsk, protect, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { ageingUsage } from "./retention-usage.ts";
import type { Workload } from "./usage.ts";

const minute = 60_000;
const hour = 60 * minute;
const retention = {
  tiers: [
    { everyMs: 0, forMs: hour },
    { everyMs: minute, forMs: 24 * hour },
  ],
  taggedMs: hour,
};

it("is what a real run asks of bucket and table, by tiers and by whether anything is written", async () => {
  const intervalMs = 10_000;
  const site = makeSite();
  const { vpg, source } = await protect(site, { ...twoVolumes, retention });
  const { vpgId } = vpg;
  const stream = new Stream(vpgId, await openSession(site, source, openAsk(site, vpgId)));
  await ingestBatch(site, source, stream.synced());
  let meters = new Meters();
  /** So long, with the site's timers each minute, and a checkpoint in so much. */
  const live = async (ms: number, everyMs: number) => {
    meters = new Meters();
    for (let gone = 0; gone < ms; gone += minute) {
      for (let part = 0; part < minute; part += intervalMs) {
        await site.clock.advance(intervalMs);
        if ((gone + part) % everyMs === 0) await ingestBatch(site, source, stream.checkpoint(site.clock.now()));
      }
      const of = { ...site, objects: meters.objects(site.objects), table: meters.table(site.table) };
      await compactJournal(of, vpgId);
      await retainJournal(of, await getVpg(of, vpgId));
      await collectJournal(of, await getVpg(of, vpgId));
    }
    const { s3Puts, s3Gets, dynamodbWrites, dynamodbReads } = meters;
    const month = (count: number) => Math.round((count * 30 * 24 * hour) / ms);
    return {
      s3Puts: month(s3Puts),
      s3Gets: month(s3Gets),
      dynamodbWrites: month(dynamodbWrites),
      dynamodbReads: month(dynamodbReads),
    };
  };
  const workload: Workload = {
    ...{ vpgs: 1, gateways: 2, volumesBytes: 80 * 2 ** 20, payloadBytesPerSecond: 51, shippedBytesPerSecond: 51 },
    ...{ checkpointIntervalMs: intervalMs, historyMs: 24 * hour, testsPerMonth: 0, source: "outside", ownKey: false },
    retention,
  };
  await live(2 * hour, intervalMs);
  const busy = await live(2 * hour, intervalMs);
  // So seldom that two clocks still agree, until all that can be thinned is.
  const seldom = hour / 2;
  await live(3 * hour, seldom);
  const idle = await live(2 * hour, seldom);
  // The history is four hours long by now.
  const said = (state: "idle" | "busy") => ageingUsage({ ...workload, historyMs: 4 * hour }, state);
  for (const [counted, usage] of [
    [busy, said("busy")],
    [idle, said("idle")],
  ] as const) {
    for (const meter of ["s3Puts", "s3Gets", "dynamodbWrites", "dynamodbReads"] as const) {
      const ratio = (usage[meter] ?? 0) / counted[meter];
      expect(ratio, `${meter}: ${usage[meter]} said, ${counted[meter]} counted`).toBeGreaterThan(0.7);
      expect(ratio, `${meter}: ${usage[meter]} said, ${counted[meter]} counted`).toBeLessThan(1.4);
    }
  }
}, 120_000);
