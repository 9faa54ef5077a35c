import { beforeAll, describe, expect, it } from "vitest";
import type { VpgView } from "#core/api/site-api.ts";
import { idSchema } from "#core/ids.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { protectShop } from "../test/kit/failover-site.ts";
import { makeSite, protect, twoVolumes } from "../test/kit/site.ts";
import { vpgRows } from "./vpg-rows.ts";

const siteId = idSchema.parse("01k3s1te000000000000000001");
const peer = { name: "paris", url: "https://paris", region: null, journal: true, changedAt: 0, initiatedBy: "ann" };

let view: VpgView;
beforeAll(async () => {
  const site = makeSite();
  const { vpg } = await protect(site, twoVolumes);
  view = await vpgView(site, vpg);
});

const row = (label: string, over: Partial<VpgView> = {}): string | undefined =>
  vpgRows({ ...view, ...over }).find(([each]) => each === label)?.[1];

describe("what vpg show says", () => {
  it("names the peer, not its id", () => {
    expect(row("Peer", { peer: { ...peer, siteId } })).toMatch(/^paris at https:\/\/paris, reachability unknown/);
    expect(row("Peer", { peer: { ...peer, siteId: null } })).toMatch(
      /^paris at https:\/\/paris, never asked who it is/,
    );
  });

  it("says of a source that is not heard, or is none any more, what it said last as that", () => {
    const heard = { substatus: "None", mode: "replicating" } as const;
    expect(row("Replication", heard)).toMatch(/^replicating, backlog/);
    for (const over of [
      { ...heard, role: "Runs" as const },
      { ...heard, substatus: "DisconnectedFromPeer" as const },
    ])
      expect(row("Replication", over)).toMatch(/^none now; when its source was heard last: replicating/);
  });

  it("has an RPO only where the journal is", () => {
    expect(row("RPO now / target")).toBe("none yet / 15.0 s");
    expect(row("RPO now / target", { rpoMs: 900 })).toBe("900 ms / 15.0 s");
    expect(row("RPO now / target", { role: "Runs", rpoMs: 900 })).toBeUndefined();
  });

  it("has none at a site that runs it, whatever checkpoints are left there", async () => {
    const { site, vpg } = await protectShop();
    expect(await vpgView(site, vpg)).toMatchObject({ checkpoints: 3, rpoMs: 0 });
    expect((await vpgView(site, { ...vpg, role: "Runs" })).rpoMs).toBeNull();
  });

  it("says that the journal's bytes were not measured before they were", () => {
    const retention = view.retention;
    if (retention === undefined) throw new Error("no retention");
    expect(row("Live / dead / leaked")).toBe("not measured yet");
    const measured = { ...retention, collectedAt: 0, liveBytes: 2048 };
    expect(row("Live / dead / leaked", { retention: measured })).toBe("2.00 KiB / 0 B / 0 B, 1970-01-01T00:00:00.000Z");
  });
});
