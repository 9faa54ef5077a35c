import { describe, expect, it } from "vitest";
import { billOf, estimate } from "./bill.ts";
import { monthlyUsage } from "./month.ts";
import { pricesFileSchema, usEast1, withPrices } from "./prices.ts";
import { ageingUsage } from "./retention-usage.ts";
import { scrubUsage } from "./scrub-usage.ts";
import {
  batchesPerInterval,
  heartbeatUsage,
  intervalUsage,
  multiply,
  siteUsage,
  storedUsage,
  testUsage,
  type Workload,
} from "./usage.ts";

const GiB = 2 ** 30;

/** One VPG of 100 GiB that writes 4 KiB a second, of which half is shipped; a gateway at each side; no tests. */
const light: Workload = {
  vpgs: 1,
  gateways: 2,
  volumesBytes: 100 * GiB,
  payloadBytesPerSecond: 4096,
  shippedBytesPerSecond: 2048,
  checkpointIntervalMs: 5000,
  historyMs: 86_400_000,
  testsPerMonth: 0,
  source: "outside",
  ownKey: false,
};

describe("what acts take", () => {
  it("one PUT, one write unit and one invocation for an interval of a VPG that writes lightly", () => {
    expect(intervalUsage(light)).toMatchObject({
      s3Puts: 1,
      dynamodbWrites: 1,
      lambdaRequests: 1,
      lambdaGbSeconds: 0.08,
    });
  });

  it("a batch for every 4 MiB of an interval, of which only the last has a checkpoint", () => {
    // 10 MiB/s for 5 s are 50 MiB: 13 batches, the last with 2 MiB.
    const heavy = { ...light, payloadBytesPerSecond: 10 * 2 ** 20 };
    expect(batchesPerInterval(heavy)).toBe(13);
    expect(intervalUsage(heavy)).toMatchObject({ s3Puts: 13, dynamodbWrites: 13, lambdaRequests: 13 });
  });

  it("more for the heartbeat of an idle gateway: the checkpoint's item is written again", () => {
    expect(heartbeatUsage(light, false)).toMatchObject({ dynamodbWrites: 1, dynamodbReads: 3, lambdaGbSeconds: 0.04 });
    expect(heartbeatUsage(light, true)).toMatchObject({ dynamodbWrites: 2, dynamodbReads: 4 });
    expect(heartbeatUsage(light, true).s3Gets).toBeUndefined();
  });

  it("reads of its own VPGs for each heartbeat, however many the site has", () => {
    expect(heartbeatUsage({ vpgs: 2000, gateways: 4000 }, false)).toMatchObject({ dynamodbReads: 3 });
    // One gateway for all of a site's VPGs: 2000 items of 100 bytes are 49 read units.
    expect(heartbeatUsage({ vpgs: 2000, gateways: 1 }, false)).toMatchObject({ dynamodbReads: 49 + 2000 + 1 });
  });

  it("an hour of calls every second for a test", () => {
    // 2 gateways, 3600 calls each instead of 720; 5 GiB are 20,480 frames, each with a header.
    const calls = 2 * (3600 - 720);
    expect(testUsage(light)).toMatchObject({ transitions: 30, transferOutGb: 5, s3Gets: 40_960 });
    expect(testUsage(light).lambdaRequests).toBe(20 + 40_960 + calls);
  });

  it("alarms, a dashboard and the reconciler for a site", () => {
    expect(siteUsage(light)).toMatchObject({ alarms: 36, dashboards: 1, metrics: 6, lambdaRequests: 216_000 });
    expect(siteUsage({ vpgs: 1, ownKey: true })).toMatchObject({ kmsKeys: 1 });
  });

  it("the first copy and the history in storage", () => {
    // 50 GiB, and 2048 B/s for a day; 17,280 batches with rows of 800 bytes.
    const stored = storedUsage(light);
    expect(stored.s3StoredGb).toBeCloseTo(50 + (2048 * 86_400) / GiB, 9);
    expect(stored.dynamodbStoredGb).toBeCloseTo((17_280 * 800) / GiB, 9);
  });
});

describe("a month", () => {
  it("has 518,400 intervals of 5 s, and as many heartbeats of each gateway", () => {
    const busy = monthlyUsage(light, "busy");
    const ageing = ageingUsage(light, "busy");
    const scrub = scrubUsage(light);
    expect(busy.s3Puts).toBe(518_400 + (ageing.s3Puts ?? 0) + (scrub.s3Puts ?? 0));
    expect(busy.lambdaRequests).toBe(518_400 * 3 + 216_000);
    expect(busy.dynamodbWrites).toBe(518_400 * (1 + 2) + (ageing.dynamodbWrites ?? 0) + (scrub.dynamodbWrites ?? 0));
  });

  it("costs for the batches of a VPG that writes lightly $3.73 at 5 s and $18.63 at 1 s", () => {
    const batches = (checkpointIntervalMs: number): number => {
      const intervals = 2_592_000_000 / checkpointIntervalMs;
      return billOf(multiply(intervalUsage({ ...light, checkpointIntervalMs }), intervals), usEast1).usd;
    };
    // 518,400 x ($5 PUT + $0.625 write + $0.20 request + $1.07 for 0.08 GB-s) a million, and 0.29 GB of logs.
    expect(batches(5000)).toBeCloseTo(0.5184 * (5 + 0.625 + 0.2 + 0.08 * 13.3334) + 0.2897 * 0.53, 3);
    expect(batches(5000)).toBeCloseTo(3.73, 2);
    expect(batches(1000)).toBeCloseTo(18.63, 2);
  });

  it("costs for an idle VPG its gateways' heartbeats", () => {
    const idle = monthlyUsage(light, "idle");
    expect(idle.s3Puts).toBe(scrubUsage(light).s3Puts);
    expect(idle.lambdaRequests).toBe(518_400 * 2 + 216_000);
  });

  it("adds what comes from another region", () => {
    const usage = monthlyUsage({ ...light, shippedBytesPerSecond: GiB / 2_592_000, source: "other-region" }, "busy");
    expect(usage.transferBetweenRegionsGb).toBeCloseTo(1, 9);
  });
});

describe("a bill", () => {
  it("is quantity times price, by service", () => {
    const bill = billOf({ s3Puts: 518_400, s3StoredGb: 100, dynamodbWrites: 2_073_600 }, usEast1);
    expect(bill.lines.map(({ meter, usd }) => [meter, Number(usd.toFixed(4))])).toEqual([
      ["s3Puts", 2.592],
      ["s3StoredGb", 2.3],
      ["dynamodbWrites", 1.296],
    ]);
    expect(bill.services).toEqual([
      { service: "S3", usd: expect.closeTo(4.892, 6) },
      { service: "DynamoDB", usd: expect.closeTo(1.296, 6) },
    ]);
    expect(bill.usd).toBeCloseTo(6.188, 6);
  });

  it("takes prices of a file, and of the list what the file lacks", () => {
    const file = pricesFileSchema.parse({
      region: "eu-central-1",
      asOf: "2026-11-01",
      prices: { s3Puts: { usd: 0.0054, per: 1000, source: "a quotation" } },
    });
    const list = withPrices(usEast1, file);
    expect(list.region).toBe("eu-central-1");
    expect(billOf({ s3Puts: 1000, s3Gets: 1000 }, list).lines.map(({ usd }) => usd)).toEqual([0.0054, 0.0004]);
    expect(pricesFileSchema.safeParse({ ...file, prices: { s3Put: file.prices.s3Puts } }).success).toBe(false);
  });

  it("says what a shipped GB costs beside its storage", () => {
    const { idle, busy, usdPerShippedGb } = estimate(light, usEast1);
    const shippedGb = (2048 * 2_592_000) / GiB;
    expect(usdPerShippedGb).toBeCloseTo((busy.usd - idle.usd) / shippedGb, 9);
    const nothing = { ...light, shippedBytesPerSecond: 0, payloadBytesPerSecond: 0 };
    expect(estimate(nothing, usEast1).usdPerShippedGb).toBeNull();
  });
});
