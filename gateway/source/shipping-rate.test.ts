import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { ShippingRate } from "./shipping-rate.ts";

const nights = { fromMinute: 22 * 60, toMinute: 6 * 60, bytesPerSecond: 5_000_000, days: ["fri"], timeZone: "UTC" };
const office = {
  ...{ fromMinute: 8 * 60, toMinute: 18 * 60, bytesPerSecond: 20_000_000 },
  ...{ days: ["mon", "tue", "wed", "thu", "fri"], timeZone: "Europe/Berlin" },
};

let folder = "";
let state: StateDirectory;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-rate-"));
  state = await StateDirectory.open(folder);
});
afterEach(async () => {
  await state.close();
  rmSync(folder, { recursive: true });
});

/** A clock that stands at that time. */
function at(time: string): VirtualClock {
  const clock = new VirtualClock();
  clock.now = () => Date.parse(time);
  return clock;
}

describe("ShippingRate", () => {
  it.each([
    ["2026-07-01T05:59:00Z", undefined, "07:59 in Berlin, in summer"],
    ["2026-07-01T06:00:00Z", 20_000_000, "08:00 there"],
    ["2026-07-01T15:59:59Z", 20_000_000, "17:59 there"],
    ["2026-07-01T16:00:00Z", undefined, "18:00 there"],
    ["2026-01-05T06:30:00Z", undefined, "07:30 there, in winter"],
    ["2026-07-04T10:00:00Z", undefined, "a Saturday"],
    ["2026-07-03T22:00:00Z", 5_000_000, "Friday's night"],
    ["2026-07-04T05:59:00Z", 5_000_000, "its morning"],
    ["2026-07-04T06:00:00Z", undefined, "its end"],
    ["2026-07-04T22:30:00Z", undefined, "another night"],
  ])("is by the schedule at %s: %s (%s)", async (time, rate, _) => {
    expect((await ShippingRate.load(state, at(time), [office, nights])).now()).toBe(rate);
  });

  it("is the lower of schedule and order, and the order outlives the process", async () => {
    const clock = at("2026-07-01T10:00:00Z");
    const rate = await ShippingRate.load(state, clock, [office]);
    await rate.order(30_000_000);
    expect(rate.now()).toBe(20_000_000);
    await rate.order(1_000_000);
    expect((await ShippingRate.load(state, clock, [office])).now()).toBe(1_000_000);
    await rate.order(null);
    expect((await ShippingRate.load(state, clock, [])).now()).toBeUndefined();
  });
});
