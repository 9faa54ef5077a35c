import { afterEach, describe, expect, it } from "vitest";
import type { LiveOptions } from "#core/protection/operation.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld } from "../../test/kit/failover-world.ts";
import { siteStatus } from "./site-status.ts";

const hour = 3_600_000;

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** The alerts of a failover that waits for its decision, one and then two hours after its VMs were up. */
async function alertsOf(commitPolicy: LiveOptions["commitPolicy"]): Promise<readonly (readonly string[])[]> {
  const options: LiveOptions = {
    checkpoint: { kind: "latest" },
    shutdown: { policy: "none", graceMs: 0 },
    commitPolicy,
  };
  const world = new FailoverWorld(await protectShop(), { ask: { kind: "failover-live", options } });
  worlds.push(world);
  await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
  const told = async () => {
    const { alerts } = await siteStatus(world.shop.site);
    return alerts
      .filter(({ alertId }) => alertId.startsWith("decision-"))
      .map(({ alertId, text }) => `${alertId} ${text}`);
  };
  const openedAt = (await world.operation())?.steps["decision"]?.startedAt ?? 0;
  await world.shop.clock.advance(openedAt + hour - 1 - world.shop.clock.now());
  const early = await told();
  await world.shop.clock.advance(hour + 1);
  return [early, await told()];
}

describe("a decision that nobody makes", () => {
  it("is told from an hour on, with what happens without one", async () => {
    expect(await alertsOf({ action: "none" })).toEqual([
      [],
      [
        expect.stringMatching(
          /^decision-waits:shop .*waited for 2h: commit it or roll it back; rollback by itself in 29d/,
        ),
      ],
    ]);
  });

  it("is nobody's to make where a policy makes it", async () => {
    expect(await alertsOf({ action: "commit", afterMs: 24 * hour })).toEqual([[], []]);
  });
});
