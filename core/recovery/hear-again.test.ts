import { afterEach, describe, expect, it } from "vitest";
import { getCommand, issueCommand, pendingCommands } from "#core/protection/commands.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../../test/kit/failover-world.ts";
import { hearAgain } from "./hear-again.ts";
import { recoveryLimits } from "./limits.ts";
import { assertListened, noteBegan } from "./site-began.ts";

let world: FailoverWorld | undefined;
afterEach(() => world?.close());

const attach = `${operationId}.1.attach-volumes`;

/** A failover whose recovery gateway has been told to attach and says nothing. */
async function attaching(): Promise<FailoverWorld> {
  const options = {
    checkpoint: { kind: "latest" as const },
    shutdown: { policy: "none" as const, graceMs: 0 },
    commitPolicy: { action: "none" as const },
  };
  const silent = { silent: ["attach-volumes" as const] };
  world = new FailoverWorld(await protectShop(), { ask: { kind: "failover-live", options }, recovery: silent });
  await world.run(async () => (await world?.operation())?.tokens["attach-volumes"] !== undefined);
  return world;
}

describe("a site that begins", () => {
  it("gives a gateway time whose command expired while nobody heard it, and no person's command", async () => {
    const live = await attaching();
    const { shop } = live;
    const body = { kind: "tag-checkpoint" as const, vpgId: shop.vpg.vpgId, tag: "now" };
    await issueCommand(shop.site, shop.source.gatewayId, { commandId: "a.tag", body, expiresInMs: limits.tagExpiryMs });
    live.close();
    await shop.clock.advance(limits.commandExpiryMs);
    expect((await getCommand(shop.site, attach)).state).toBe("expired");
    expect(await hearAgain(shop.site)).toBe(1);
    expect(await getCommand(shop.site, attach)).toMatchObject({
      state: "pending",
      command: { expiresAt: shop.clock.now() + recoveryLimits.hearAgainMs },
    });
    expect((await getCommand(shop.site, "a.tag")).state).toBe("expired");
    expect(await hearAgain(shop.site)).toBe(0);
  });

  it("takes no time from a command that has more", async () => {
    const live = await attaching();
    const { shop } = live;
    live.close();
    const before = await getCommand(shop.site, attach);
    expect(await hearAgain(shop.site)).toBe(0);
    expect(await getCommand(shop.site, attach)).toEqual(before);
  });

  it("goes on without a silent source in its second minute, not in its first", async () => {
    const options = {
      checkpoint: { kind: "latest" as const },
      shutdown: { policy: "force" as const, graceMs: 0 },
      commitPolicy: { action: "none" as const },
    };
    const live = new FailoverWorld(await protectShop(), {
      ask: { kind: "failover-live", options },
      source: { silent: "all" },
    });
    world = live;
    const { clock } = live.shop;
    const beganAt = clock.now();
    await live.run(async () => (await live.operation())?.steps["shutdown-source"]?.state === "skipped");
    expect(clock.now() - beganAt).toBeGreaterThanOrEqual(recoveryLimits.hearAgainMs);
    expect(clock.now() - beganAt).toBeLessThan(2 * recoveryLimits.hearAgainMs);
  });

  it("takes one for silent at once that it heard and hears no more", async () => {
    const { site, clock, source } = await protectShop();
    const gateway = { gatewayId: source.gatewayId, name: "gw-berlin" };
    const heardAt = (lastSeenAt: number) => {
      const fields = { lastSeenAt, skewMs: 0, version: "1", processId: gateway.gatewayId };
      const put = { put: items.gateway(gateway.gatewayId), fields: { ...fields, streams: [], attachedOperations: [] } };
      return site.table.transact([put]);
    };
    await noteBegan(site);
    await heardAt(clock.now() - 1);
    await expect(assertListened(site, [gateway])).rejects.toMatchObject({ name: "Transient" });
    await heardAt(clock.now());
    await assertListened(site, [gateway]);
  });

  it("leaves alone what a step has concluded from a silence", async () => {
    const live = await attaching();
    const { shop } = live;
    await live.run(async () => (await live.operation())?.steps["attach-volumes"]?.state === "failed");
    expect(await hearAgain(shop.site)).toBe(0);
    expect((await getCommand(shop.site, attach)).state).toBe("expired");
    const { createdAt } = (await getCommand(shop.site, attach)).command;
    const back = { ...shop.site, clock: { ...shop.site.clock, now: () => createdAt + 1 } };
    expect((await getCommand(back, attach)).state).toBe("expired");
    expect(await pendingCommands(back, shop.recovery.gatewayId)).not.toContainEqual(
      expect.objectContaining({ commandId: attach }),
    );
  });

  it("gives time to a command of a clock that was ahead, and was set right while the site was away", async () => {
    const live = await attaching();
    const { shop } = live;
    live.close();
    const { createdAt } = (await getCommand(shop.site, attach)).command;
    const right = { ...shop.site, clock: { ...shop.site.clock, now: () => createdAt - 30 * 3_600_000 } };
    expect((await getCommand(right, attach)).state).toBe("expired");
    expect(await hearAgain(right)).toBe(1);
    expect((await getCommand(right, attach)).state).toBe("pending");
  });
});
