import { describe, expect, it } from "vitest";
import { createVpgSchema } from "#core/api/site-api.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { readDefinition } from "#core/protection/definition-at.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { type ProtectedShop, protectShop, shop } from "../../test/kit/failover-site.ts";
import { summaryOf } from "../../test/kit/failover-summary.ts";
import { FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import { operator } from "../../test/kit/site.ts";
import { readReport } from "./report.ts";

/** Of db: data grew, log is gone, more came (as number 4); web boots first now. The source's session is of before. */
async function edited(): Promise<ProtectedShop> {
  const made = await protectShop();
  const definition = createVpgSchema.parse({
    ...shop,
    vms: [
      {
        name: "db",
        bootGroup: 2,
        volumes: [
          { name: "data", sizeBytes: 2 ** 27 },
          { name: "more", sizeBytes: 2 ** 20 },
        ],
      },
      { name: "web", bootGroup: 1, volumes: [{ name: "root", sizeBytes: 2 ** 24 }] },
    ],
  });
  await editVpg(made.site, operator, "shop", { definition, revision: 1, dryRun: false });
  return made;
}

async function run(made: ProtectedShop, ask: WorldOptions["ask"]) {
  const world = new FailoverWorld(made, { ask });
  try {
    await world.run();
    return { summary: await summaryOf(world), report: await readReport(made.site, made.vpg.vpgId, operationId) };
  } finally {
    world.close();
  }
}

const sizesOf = (definition: Parameters<typeof volumesOf>[0]) =>
  volumesOf(definition).map(({ volume, name, sizeBytes }) => [volume, name, sizeBytes]);
const before = [
  [1, "data", 2 ** 26],
  [2, "log", 2 ** 24],
  [3, "root", 2 ** 24],
];

describe("operations of a VPG that was edited, whose checkpoints are of before", () => {
  it("fail over to what those have, in today's order, and leave the VPG with just that", async () => {
    const made = await edited();
    const shutdown = { policy: "none" as const, graceMs: 0 };
    const { summary, report } = await run(made, {
      kind: "failover-live",
      options: { checkpoint: { kind: "latest" }, shutdown, commitPolicy: { action: "commit", afterMs: 0 } },
    });
    expect(summary).toMatchObject({ phase: "Completed", vpg: { role: "Runs" } });
    expect(Object.keys(summary.exports)).toEqual(["1", "2", "3"]);
    expect(report.vms?.map(({ name, bootGroup }) => [name, bootGroup])).toEqual([
      ["db", 2],
      ["web", 1],
    ]);
    const { definition } = await getVpg(made.site, "shop");
    expect(definition).toMatchObject({ revision: 3, captureRevision: 3, lastVolume: 4 });
    expect(sizesOf(definition)).toEqual(before);
    expect(await readDefinition(made.objects, made.vpg.vpgId, 3)).toEqual(definition);
  });

  it("leave an edit as it is when a test of an older checkpoint ends", async () => {
    const made = await edited();
    const { summary } = await run(made, {
      kind: "failover-test",
      options: { checkpoint: { kind: "latest" } },
    });
    expect(summary).toMatchObject({ phase: "Completed" });
    expect(Object.keys(summary.exports)).toEqual(["1", "2", "3"]);
    expect(await getVpg(made.site, "shop")).toMatchObject({ definition: { revision: 2 } });
  });

  it("don't move it: what the new volumes hold would be lost", async () => {
    const { summary } = await run(await edited(), {
      kind: "move",
      options: { graceMs: 300_000, commitPolicy: { action: "commit", afterMs: 0 }, source: "keep", verify: false },
    });
    expect(summary).toMatchObject({ phase: "Failed", error: "FinalNotProved", vpg: { role: "Journal", term: 1 } });
  });
});
