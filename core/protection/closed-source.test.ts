import { describe, expect, it } from "vitest";
import type { StreamState } from "#core/api/gateway-api.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { makeSite, protect } from "../../test/kit/site.ts";
import { closedSources } from "./closed-source.ts";
import { items } from "./items.ts";

const operationId = idSchema.parse("01k3zper4t0000000000000001");
const otherVpgId = idSchema.parse("01k3zper4t0000000000000002");

const closedStream = (vpgId: Id, more: Partial<StreamState> = {}): StreamState => ({
  ...{ vpgId, term: 1, session: 0, lastSequence: 0, acknowledgedSequence: 0, sync: null, idle: false },
  ...{ backlogBytes: 0, lagMs: 0, writes: 0, writtenBytes: 0, shippedBytes: 0 },
  ...{ mode: "closed", closedBy: operationId, ...more },
});

async function know(site: Site): Promise<void> {
  await site.table.transact([{ put: items.operation(operationId), fields: { kind: "move", phase: "Completed" } }]);
}

describe("a source that says that it is closed", () => {
  it.each([
    ["its own move, forgotten", {}, false, ["forgotten"]],
    ["its own move, known", {}, true, []],
    ["another VPG's, forgotten", { closedFor: otherVpgId }, false, ["before"]],
    ["another VPG's, known", { closedFor: otherVpgId }, true, ["before"]],
  ] as const)("by %s", async (_, more, known, of) => {
    const site = makeSite();
    const { vpg } = await protect(site);
    if (known) await know(site);
    const sources = [{ name: "gw-berlin", streams: [closedStream(vpg.vpgId, more)] }];
    expect((await closedSources(site, vpg, sources)).map((source) => source.of)).toEqual(of);
  });

  it("under the name of a VPG that is no more", async () => {
    const site = makeSite();
    const { vpg } = await protect(site);
    const sources = [{ name: "gw-berlin", streams: [closedStream(otherVpgId)] }];
    expect(await closedSources(site, vpg, sources)).toEqual([{ gateway: "gw-berlin", operationId, of: "before" }]);
  });
});
