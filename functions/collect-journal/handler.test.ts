import { expect, it } from "vitest";
import { manifestKey } from "#core/journal/keys.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { items } from "#core/protection/items.ts";
import { lambdaContext } from "../../cli/site/lambda-context.ts";
import { makeSite, operator, protect, twoVolumes } from "../../test/kit/site.ts";
import { runWithSite } from "../shared/site.ts";
import { handler } from "./handler.ts";

it("looks at deleted VPGs though the journal of another can't be collected", async () => {
  const site = makeSite();
  const retention = { tiers: [{ everyMs: 0, forMs: 60_000 }], taggedMs: 60_000 };
  const gone = await protect(site, { ...twoVolumes, name: "gone", sourceGateway: "gw-gone", recoveryGateway: "gw-r" });
  await deleteVpg(site, operator, "gone");
  const { vpg } = await protect(site, { ...twoVolumes, retention });
  await site.objects.put(manifestKey(vpg.vpgId, 1), new Uint8Array([1, 2, 3]));
  const run = () => runWithSite(site, () => handler({}, lambdaContext("collect-journal", "r")));
  await expect(run()).rejects.toMatchObject({ name: "Corrupt" });
  expect((await site.table.get(items.purge(gone.vpg.vpgId)))?.fields).toMatchObject({ purgedAt: null });
});
