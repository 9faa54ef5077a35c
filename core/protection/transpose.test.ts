import { describe, expect, it } from "vitest";
import { newId } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { shop } from "../../test/kit/failover-site.ts";
import { makeSite, operator, protect } from "../../test/kit/site.ts";
import type { VpgDefinition } from "./definition.ts";
import type { StoredOffer } from "./offer.ts";
import { createToken } from "./tokens.ts";
import { transpose } from "./transpose.ts";

const retention = { tiers: [{ everyMs: 0, forMs: 3_600_000 }], taggedMs: 86_400_000 };

/** A site that knows gateways of both names, as each of two peers does. */
async function peerSite(seed: number): Promise<Site> {
  const site = makeSite({ seed });
  for (const name of ["gw-berlin", "gw-recovery"]) {
    await createToken(site, { role: "gateway", name }, operator);
  }
  return site;
}

function offerOf(site: Site, definition: VpgDefinition, gatewayLost = false): StoredOffer {
  const { siteId: minter } = site;
  const [vpgId, operationId] = [newId(site.clock, site.random), newId(site.clock, site.random)];
  const common = { formatVersion: 1 as const, vpgId, minter, runs: minter, fork: [], mintedAt: 0 };
  const first = { ...common, n: 1, parent: 0, journal: minter, operationId: null };
  const term = { ...common, n: 2, parent: 1, journal: null, operationId };
  const said = { definition, gatewayLost, initiatedBy: "operator:ann" };
  return { formatVersion: 1, vpgId, operationId, term, lineage: [first], ...said };
}

describe("a VPG the other way round", () => {
  it("and round again is as it was: volumes and their numbers, boot order, delays, retention", async () => {
    const berlin = await peerSite(3);
    const { vpg } = await protect(makeSite({ seed: 4 }), { ...shop, retention });
    const before = vpg.definition;
    const { definition: there, gateways } = await transpose(berlin, offerOf(berlin, before), "recovery");
    expect(there).toMatchObject({
      ...{ protectedSite: "recovery", sourceGatewayName: "gw-recovery", recoveryGatewayName: "gw-berlin" },
      ...{ compute: "gateway", revision: 2, captureRevision: 2, initiatedBy: "operator:ann" },
    });
    expect([there.recoveryGatewayId]).toEqual(gateways);
    const recovery = await peerSite(5);
    const { definition: back } = await transpose(recovery, offerOf(recovery, there), "berlin");
    const { revision: _r, captureRevision: _c, initiatedBy: _i, ...rest } = back;
    const { sourceGatewayId: _s, recoveryGatewayId: _g, ...said } = rest;
    expect(before).toMatchObject(said);
    expect(back.vms).toEqual(before.vms);
    expect(back.bootDelays).toEqual(shop.bootDelays);
    expect(back.retention).toEqual(before.retention);
  });

  it("has nobody to recover it where the old gateway is lost", async () => {
    const berlin = await peerSite(3);
    const { vpg } = await protect(makeSite({ seed: 4 }), shop);
    const { definition, gateways } = await transpose(berlin, offerOf(berlin, vpg.definition, true), "recovery");
    expect(definition).toMatchObject({ compute: "none", recoveryGatewayId: null, recoveryGatewayName: null });
    expect(gateways).toEqual([]);
  });

  it("is refused by the name of a gateway that has no identity here", async () => {
    const berlin = makeSite({ seed: 3 });
    const { vpg } = await protect(makeSite({ seed: 4 }), shop);
    await expect(transpose(berlin, offerOf(berlin, vpg.definition), "recovery")).rejects.toThrow("gw-berlin");
  });
});
