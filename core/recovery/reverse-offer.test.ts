import { expect, it } from "vitest";
import { idSchema, newId } from "#core/ids.ts";
import { addPeer } from "#core/protection/peers.ts";
import { assertNotMinted } from "#core/protection/terms.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../../test/kit/failover-world.ts";
import { operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { getOperation } from "./operation-store.ts";
import { ensureOffer, journalPeer } from "./reverse-offer.ts";
import { withdrawOwn } from "./reverse-step.ts";

it("an operation that took back the offer of one that was lost can be rolled back, and takes back its own", async () => {
  const options = {
    checkpoint: { kind: "latest" as const },
    shutdown: { policy: "none" as const, graceMs: 0 },
    commitPolicy: { action: "none" as const },
    reverseProtection: true,
  };
  const world = new FailoverWorld(await protectShop(), { ask: { kind: "failover-live", options } });
  try {
    const { site, vpg } = world.shop;
    const siteId = idSchema.parse("01k3s1te00000000000000000a");
    const place = { url: "https://berlin.example", region: null, journal: true };
    await addPeer(site, { name: vpg.definition.protectedSite, siteId, ...place }, operator);
    await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
    await decide(world.outside, operator, operationId, { decision: "commit" });
    await world.run();
    const runs = await getVpg(site, vpg.vpgId);
    const peer = await journalPeer(site, runs);
    const lost = await getOperation(site, idSchema.parse(runs.operationId));
    const { n } = (await ensureOffer(site, runs, lost, peer)).term;
    const next = { ...lost, operationId: newId(site.clock, site.random) };
    expect((await ensureOffer(site, runs, next, peer)).term.n).toBe(n + 1);
    await assertNotMinted(site, runs, next.operationId);
    expect(await withdrawOwn(site, next, runs)).toMatchObject({ n: n + 1, journal: null });
  } finally {
    world.close();
  }
});
