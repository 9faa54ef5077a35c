import { afterEach, describe, expect, it } from "vitest";
import { startOperationSchema } from "#core/api/site-api.ts";
import { idSchema } from "#core/ids.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import type { LiveOptions, MoveOptions } from "#core/protection/operation.ts";
import { addPeer } from "#core/protection/peers.ts";
import { findVpg, getVpg } from "#core/protection/vpg-store.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId, type WorldOptions } from "../../test/kit/failover-world.ts";
import { operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { findOperation } from "./operation-store.ts";
import { readReport } from "./report.ts";
import { retryOperation } from "./retry-operation.ts";
import { createReverse } from "./start-reverse.ts";

const live: LiveOptions = {
  checkpoint: { kind: "latest" },
  shutdown: { policy: "none", graceMs: 0 },
  commitPolicy: { action: "none" },
};
const move: MoveOptions = { graceMs: 1000, commitPolicy: { action: "none" }, source: "keep", verify: false };

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** An operation that waits for its decision, at a site that knows the VPG's own site as a peer, or doesn't. */
async function waiting(
  ask: WorldOptions["ask"],
  known = true,
  more: Omit<WorldOptions, "ask"> = {},
): Promise<FailoverWorld> {
  const world = new FailoverWorld(await protectShop(), { ask, ...more });
  worlds.push(world);
  const { site, vpg } = world.shop;
  const peer = {
    ...{ name: vpg.definition.protectedSite, siteId: idSchema.parse("01k3s1te00000000000000000a") },
    ...{ url: "https://berlin.example", region: null, journal: true },
  };
  if (known) await addPeer(site, peer, operator);
  await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
  return world;
}

/** What the committed operation left behind: its report's step, and the operation that holds the VPG now. */
async function leftBy(world: FailoverWorld) {
  await world.run();
  const { site, vpg } = world.shop;
  const { operationId: holder } = await getVpg(site, vpg.vpgId);
  const next = holder === null ? undefined : await findOperation(site, holder);
  const report = await readReport(site, vpg.vpgId, operationId);
  const step = report.steps.find((one) => one.step === "reverse-protection");
  return { phase: report.phase, step: step?.state, result: step?.result, next };
}

const begun = {
  ...{ phase: "Completed", step: "done" },
  next: { kind: "reverse-protection", reverse: { gatewayLost: false, force: false } },
};

describe("reverse protection after a commit", () => {
  it.each([
    ["a failover", { kind: "failover-live", options: { ...live, reverseProtection: true } }],
    ["a move", { kind: "move", options: { ...move, reverseProtection: true } }],
  ] as const)("follows %s whose options ask for it", async (_what, ask) => {
    const world = await waiting(ask);
    await decide(world.outside, operator, operationId, { decision: "commit" });
    expect(await leftBy(world)).toMatchObject(begun);
  });

  it.each([
    ["a failover", { kind: "failover-live", options: live }],
    ["a move", { kind: "move", options: move }],
  ] as const)("follows %s whose commit asks for it, and else nothing does", async (_what, ask) => {
    const world = await waiting(ask);
    await decide(world.outside, operator, operationId, { decision: "commit", reverseProtection: true });
    expect(await leftBy(world)).toMatchObject(begun);
    const plain = await waiting(ask);
    await decide(plain.outside, operator, operationId, { decision: "commit" });
    expect(await leftBy(plain)).toEqual({ phase: "Completed", step: undefined, result: undefined, next: undefined });
  });

  it("does not follow a rollback", async () => {
    const world = await waiting({ kind: "move", options: { ...move, reverseProtection: true } });
    await decide(world.outside, operator, operationId, { decision: "rollback" });
    expect(await leftBy(world)).toMatchObject({ phase: "RolledBack", step: undefined, next: undefined });
  });

  it("is left out, with the reason, where the VPG's own site is no peer: the commit stands", async () => {
    const world = await waiting({ kind: "move", options: { ...move, reverseProtection: true } }, false);
    await decide(world.outside, operator, operationId, { decision: "commit" });
    expect(await leftBy(world)).toMatchObject({
      ...{ phase: "Completed", step: "skipped", next: undefined },
      result: expect.stringMatching(/^Not begun: .*peer/),
    });
  });

  it("is refused of a move that removes its source, with the start and with the commit", async () => {
    const ask = (options: object) => ({ kind: "move", requestId: operationId, options: { ...move, ...options } });
    const refused = startOperationSchema.safeParse(ask({ source: "remove", reverseProtection: true }));
    expect(refused.error?.issues).toMatchObject([
      { path: ["options", "reverseProtection"], message: expect.stringContaining("keep the source") },
    ]);
    for (const good of [{ source: "remove", reverseProtection: false }, { reverseProtection: true }]) {
      expect(startOperationSchema.safeParse(ask(good)).success).toBe(true);
    }
    const world = await waiting({ kind: "move", options: { ...move, source: "remove" } });
    const commit = { decision: "commit", reverseProtection: true } as const;
    await expect(decide(world.outside, operator, operationId, commit)).rejects.toMatchObject({ name: "InvalidInput" });
    await decide(world.outside, operator, operationId, { decision: "commit", reverseProtection: false });
    expect(await leftBy(world)).toMatchObject({ phase: "Completed", next: undefined });
  });

  it("is not begun of disks that a commit has not filled, before it is gone on with", async () => {
    const fail = { "promote-volumes": { name: "CommandFailed", message: "no room", to: 1 } };
    const world = await waiting({ kind: "failover-live", options: live }, true, { recovery: { fail } });
    await decide(world.outside, operator, operationId, { decision: "commit" });
    expect(await leftBy(world)).toMatchObject({ phase: "Failed", next: undefined });
    const { site, vpg } = world.shop;
    const runs = await getVpg(site, vpg.vpgId);
    const options = { gatewayLost: false, force: false };
    const ask = {
      kind: "reverse-protection",
      options,
      requestId: idSchema.parse("01k3s1te00000000000000000b"),
    } as const;
    await expect(createReverse(site, operator, runs, ask)).rejects.toMatchObject({
      ...{ name: "OperationInProgress", message: expect.stringContaining(`operation retry ${operationId}`) },
    });
    await retryOperation(world.outside, operator, operationId);
    expect(await leftBy(world)).toMatchObject({ phase: "Completed" });
    expect((await createReverse(site, operator, runs, ask)).kind).toBe("reverse-protection");
  });

  it("does not follow the commit of a VPG that was deleted before it was gone on with", async () => {
    const fail = { "promote-volumes": { name: "CommandFailed", message: "no room", to: 1 } };
    const ask = { kind: "failover-live", options: { ...live, reverseProtection: true } } as const;
    const world = await waiting(ask, true, { recovery: { fail } });
    await decide(world.outside, operator, operationId, { decision: "commit" });
    await world.run();
    const { site, vpg } = world.shop;
    await deleteVpg(site, operator, vpg.vpgId);
    await retryOperation(world.outside, operator, operationId);
    await world.run();
    const report = await readReport(site, vpg.vpgId, operationId);
    expect(report.phase).toBe("Completed");
    const step = report.steps.find((one) => one.step === "reverse-protection");
    expect(step).toMatchObject({ state: "skipped", result: expect.stringContaining("was deleted") });
    expect((await findVpg(site, vpg.vpgId))?.operationId).toBeNull();
  });
});
