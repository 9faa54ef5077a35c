import { beforeEach, expect, it } from "vitest";
import { createVpgSchema } from "#core/api/site-api.ts";
import { parseInput } from "#core/json.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { definitionSchema } from "#core/protection/definition.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import { makeSite, operator, protect, type TestSite, twoVolumes } from "../../test/kit/site.ts";

let site: TestSite;
beforeEach(async () => {
  site = makeSite();
  await protect(site);
});

const create = async (name: string, trigger: object, over: object = {}): Promise<VpgRecord> =>
  createVpg(site, parseInput(createVpgSchema, { ...twoVolumes, name, trigger, ...over }), operator);

it.each<[string, object, object, RegExp]>([
  ["automatic without a fence or an acceptance", { policy: "automatic" }, {}, /selfFence.*acceptTwoCopies/],
  ["an acceptance that says nothing", { policy: "automatic", acceptTwoCopies: "yes" }, {}, /acceptTwoCopies/],
  ["automatic without compute", { policy: "automatic", selfFence: true }, { compute: "none" }, /compute "none"/],
  ["approve without compute", { policy: "approve" }, { compute: "none" }, /compute "none"/],
  ["a duration below the least", { minimumDurationMs: 9999 }, {}, /minimumDurationMs/],
  ["a graceful shutdown of a silent source", { shutdown: { policy: "graceful", graceMs: 0 } }, {}, /shutdown/],
  ["a dependency that isn't there", { dependsOn: ["nothing"] }, {}, /no VPG "nothing"/],
  ["itself as a dependency", { dependsOn: ["books"] }, {}, /wait for itself/],
  ["an unknown policy", { policy: "always" }, {}, /policy/],
  ["a setting that isn't one", { confirm: true }, {}, /confirm/],
])("refuses %s by name", async (_case, trigger, over, message) => {
  await expect(create("books", trigger, over)).rejects.toMatchObject({
    name: "InvalidInput",
    message: expect.stringMatching(message),
  });
});

it("refuses a circle that a deleted VPG's name would close", async () => {
  await create("front", { dependsOn: ["shop"] });
  await deleteVpg(site, operator, "shop");
  await expect(create("shop", { dependsOn: ["front"] })).rejects.toThrow(/wait for itself/);
  await create("shop", {});
});

it("takes automatic with either reason, and remembers who accepted what", async () => {
  await create("fenced", { policy: "automatic", selfFence: true });
  const { definition } = await create("accepted", { policy: "automatic", acceptTwoCopies: "both copies only read" });
  expect(definition.trigger.acceptTwoCopies).toBe("both copies only read");
});

it("reads a definition that is older than triggers: people are told, and nothing starts", async () => {
  const { trigger: _, ...old } = (await create("books", {})).definition;
  expect(definitionSchema.parse(old).trigger).toMatchObject({ policy: "notify", priority: 50, dependsOn: [] });
});
