import { afterEach, expect, it } from "vitest";
import { listCheckpoints, resolveCheckpoint } from "#core/protection/checkpoints.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../../test/kit/failover-world.ts";

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

it("a committed failover to an older checkpoint leaves the newer ones as its lost tail, and nothing chooses them", async () => {
  const shop = await protectShop();
  const world = new FailoverWorld(shop, {
    ask: {
      kind: "failover-live",
      options: {
        checkpoint: { kind: "tag", tag: "before" },
        shutdown: { policy: "none", graceMs: 0 },
        commitPolicy: { action: "commit", afterMs: 0 },
      },
    },
  });
  worlds.push(world);
  await world.run();
  const { site, vpg } = shop;
  const idsOf = async (filter = {}) => {
    const page = await listCheckpoints(site, vpg.vpgId, filter);
    return [page.total, ...page.checkpoints.map(({ id }) => id)];
  };
  expect(await idsOf()).toEqual([1, "1-8"]);
  expect(await idsOf({ lostTail: operationId })).toEqual([2, "1-12", "1-10"]);
  expect(await idsOf({ lostTail: vpg.vpgId })).toEqual([0]);

  const shown = await vpgView(site, await getVpg(site, vpg.vpgId));
  expect(shown).toMatchObject({ checkpoints: 1, lostTailCheckpoints: 2, newestCheckpoint: { id: "1-8" } });
  expect(shown.oldestCheckpoint?.id).toBe("1-8");

  const resolve = (selector: Parameters<typeof resolveCheckpoint>[2], lostTail?: typeof operationId) =>
    resolveCheckpoint(site, vpg.vpgId, selector, lostTail);
  expect((await resolve({ kind: "latest" })).id).toBe("1-8");
  expect((await resolve({ kind: "time", time: Date.UTC(2031, 0, 1) })).id).toBe("1-8");
  await expect(resolve({ kind: "id", id: "1-10" })).rejects.toMatchObject({ name: "NoCheckpoint" });
  expect((await resolve({ kind: "latest" }, operationId)).id).toBe("1-12");
  expect((await resolve({ kind: "id", id: "1-10" }, operationId)).id).toBe("1-10");
  await expect(resolve({ kind: "id", id: "1-8" }, operationId)).rejects.toMatchObject({ name: "NoCheckpoint" });
});
