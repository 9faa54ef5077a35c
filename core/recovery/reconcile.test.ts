import { expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { issueCommand } from "#core/protection/commands.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { over } from "../../test/kit/between.ts";
import { makeSite, protect, twoVolumes } from "../../test/kit/site.ts";
import { reconcile } from "./reconcile.ts";

it("takes expired commands out of a VPG's queues also when it can't out of another's, and says so", async () => {
  const table = new SqliteTable(":memory:");
  const site = makeSite({ table });
  const inputs = [
    twoVolumes,
    { ...twoVolumes, name: "second", sourceGateway: "gw-second", recoveryGateway: "gw-dr-2" },
  ];
  const queues: string[] = [];
  for (const [index, input] of inputs.entries()) {
    const { vpg, source } = await protect(site, input);
    const body = { kind: "tag-checkpoint" as const, vpgId: vpg.vpgId, tag: "x" };
    const gatewayId = idSchema.parse(source.gatewayId);
    await issueCommand(site, gatewayId, { commandId: `${index}.tag`, body });
    queues.push(gatewayId);
  }
  site.clock.leap(limits.commandExpiryMs);
  const tries: string[] = [];
  const busy = over(table, {
    async transact(actions) {
      const of = queues.find((gatewayId) => JSON.stringify(actions).includes(gatewayId)) ?? "";
      if (tries.push(of) === 1) throw new Transient("the item is busy");
      await table.transact(actions);
    },
  });
  await expect(reconcile({ ...site, table: busy })).rejects.toThrow("busy");
  expect(tries.toSorted()).toEqual(queues.toSorted());
});
