import { expect, it } from "vitest";
import { getVpg } from "#core/protection/vpg-store.ts";
import { scrubJournal } from "#core/scrub/scrub-journals.ts";
import { Meters } from "../../test/kit/meters.ts";
import { smallJournal } from "../../test/kit/small-journal.ts";
import { scrubUsage } from "./scrub-usage.ts";
import type { Workload } from "./usage.ts";

const minute = 60_000;

it("is what a round asks of bucket and table, and what looking for the next one does", async () => {
  const { as, vpgId, write, compact, clock, objects, table } = await smallJournal();
  await write(120);
  await compact();
  const meters = new Meters();
  const of = () => ({ ...as(), objects: meters.objects(objects), table: meters.table(table) });
  let bytes = 0;
  const minutes = 30;
  for (let gone = 0; gone < minutes; gone += 1) {
    bytes += (await scrubJournal(of(), await getVpg(as(), vpgId))).bytes;
    await clock.advance(minute);
  }
  const month = 30 * 24 * 60;
  const intervals: Workload = {
    ...{ vpgs: 1, gateways: 2, volumesBytes: 0, payloadBytesPerSecond: 51, shippedBytesPerSecond: bytes / 1200 },
    ...{ checkpointIntervalMs: 10_000, historyMs: 120 * 10_000, testsPerMonth: 0, source: "outside", ownKey: false },
  };
  const said = scrubUsage(intervals);
  // The site's timers look each minute of a month, here of half an hour.
  const looks = (said.dynamodbReads ?? 0) - (month - minutes);
  const pairs: [string, number, number][] = [
    // Of the manifests that are kept there are two.
    ["s3Gets", (said.s3Gets ?? 0) - 254, meters.s3Gets],
    ["dynamodbWrites", said.dynamodbWrites ?? 0, meters.dynamodbWrites],
    ["dynamodbReads", looks, meters.dynamodbReads],
  ];
  for (const [meter, counts, counted] of pairs) {
    expect(counts / counted, `${meter}: ${counts} said, ${counted} counted`).toBeGreaterThan(0.5);
    expect(counts / counted, `${meter}: ${counts} said, ${counted} counted`).toBeLessThan(2);
  }
});
