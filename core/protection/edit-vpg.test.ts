import { beforeEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import { Transient } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import { definitionKey } from "#core/journal/keys.ts";
import { makeSite, openAsk, operator, protect, type TestSite, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { checkpointParts, resolveCheckpoint } from "./checkpoints.ts";
import { volumesOf } from "./definition.ts";
import { definitionOfCheckpoint, readDefinition } from "./definition-at.ts";
import { askedFor } from "./definition-input.ts";
import { editVpg } from "./edit-vpg.ts";
import { failoverCheck } from "./failover-check.ts";
import { ingestBatch } from "./ingest.ts";
import { moveCheck } from "./move-check.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import { createToken } from "./tokens.ts";
import { findVpg, getVpg, updateVpg } from "./vpg-store.ts";

const MiB = 2 ** 20;

/** Its next put fails before it is applied. */
class OncePutFails extends MemoryObjects {
  failNext = false;
  override put(...ask: Parameters<MemoryObjects["put"]>): ReturnType<MemoryObjects["put"]> {
    if (!this.failNext) return super.put(...ask);
    this.failNext = false;
    return Promise.reject(new Transient("cut off"));
  }
}

let objects: OncePutFails;
let site: TestSite;
let protectedVpg: Awaited<ReturnType<typeof protect>>;

beforeEach(async () => {
  objects = new OncePutFails();
  site = makeSite({ objects });
  protectedVpg = await protect(site);
});

const definition = async () => (await getVpg(site, "shop")).definition;

function withVolumes(volumes: Readonly<Record<string, number>>, more: Partial<CreateVpg> = {}): CreateVpg {
  const list = Object.entries(volumes).map(([name, MiBs]) => ({ name, sizeBytes: MiBs * MiB }));
  return createVpgSchema.parse({ ...twoVolumes, ...more, vms: [{ name: "db", volumes: list }] });
}

async function edit(wanted: CreateVpg, over: { revision?: number; dryRun?: boolean } = {}) {
  const { revision } = await definition();
  return editVpg(site, operator, "shop", { definition: wanted, revision, dryRun: false, ...over });
}

const numbers = async () =>
  volumesOf(await definition()).map(({ name, volume, sizeBytes }) => [name, volume, sizeBytes / MiB]);

describe("editVpg", () => {
  it("adds, grows and removes volumes, and never gives a number twice", async () => {
    const { changes } = await edit(withVolumes({ data: 128, log: 16, more: 8 }));
    expect(changes).toEqual([
      "volume db/data: grows from 64.0 MiB to 128.0 MiB",
      "volume db/more: added with 8.00 MiB, number 3",
    ]);
    await edit(withVolumes({ data: 128, log: 16 }));
    await edit(withVolumes({ data: 128, log: 16, more: 8 }));
    expect(await numbers()).toEqual([
      ["data", 1, 128],
      ["log", 2, 16],
      ["more", 4, 8],
    ]);
    expect(await definition()).toMatchObject({
      revision: 4,
      captureRevision: 4,
      lastVolume: 4,
      initiatedBy: "operator:ann",
    });
  });

  it("changes settings without another session, and says how", async () => {
    const { changes } = await edit({
      ...twoVolumes,
      targetRpoMs: 30_000,
      bootDelays: [{ bootGroup: 1, delayMs: 5000 }],
      trigger: { ...twoVolumes.trigger, policy: "off" },
    });
    expect(changes).toEqual([
      "targetRpoMs: 15.0 s becomes 30.0 s",
      'bootDelays: [] becomes [{"bootGroup":1,"delayMs":5000}]',
      "trigger.policy: notify becomes off",
    ]);
    expect(await definition()).toMatchObject({ revision: 2, captureRevision: 1, targetRpoMs: 30_000 });
  });

  it("is asked for by what the definition itself says", async () => {
    expect(askedFor(await definition())).toEqual({ ...twoVolumes, retention: (await definition()).retention });
    expect((await edit(askedFor(await definition()))).changes).toEqual([]);
    expect(await definition()).toMatchObject({ revision: 1 });
  });

  it.each<[string, CreateVpg, string]>([
    ["a smaller volume", withVolumes({ data: 32, log: 16 }), "db/data can't shrink"],
    ["another name", { ...twoVolumes, name: "shop2" }, "name of shop can't be changed"],
    ["another source gateway", { ...twoVolumes, sourceGateway: "gw-recovery" }, "can't be changed by an edit"],
    ["a gateway that isn't there", { ...twoVolumes, recoveryGateway: "gw-none" }, 'no gateway "gw-none"'],
  ])("refuses %s", async (_, wanted, message) => {
    await expect(edit(wanted)).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining(message),
    });
    expect(await definition()).toMatchObject({ revision: 1 });
  });

  it("lets one of two editors win, and tells the other", async () => {
    const outcomes = await Promise.allSettled([
      edit(withVolumes({ data: 64, log: 16, a: 8 }), { revision: 1 }),
      edit(withVolumes({ data: 64, log: 16, b: 8 }), { revision: 1 }),
    ]);
    const lost = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(lost).toHaveLength(1);
    expect(lost[0]?.reason).toMatchObject({ name: "DefinitionChanged", details: { revision: 2 } });
    expect((await numbers()).at(-1)?.[1]).toBe(3);
  });

  it("does nothing when asked again for what was done, or in a dry run", async () => {
    const wanted = withVolumes({ data: 64, log: 16, more: 8 });
    expect((await edit(wanted, { dryRun: true })).changes).toHaveLength(1);
    expect(await definition()).toMatchObject({ revision: 1 });
    await edit(wanted, { revision: 1 });
    expect((await edit(wanted, { revision: 1 })).changes).toEqual([]);
    expect(await definition()).toMatchObject({ revision: 2 });
  });

  it("is refused while a failover runs, and for the recovery gateway while a test is open", async () => {
    await createToken(site, { name: "gw-other", role: "gateway" }, operator);
    const operationId = newId(site.clock, site.random);
    await updateVpg(site, await getVpg(site, "shop"), { operationId });
    const wanted = { ...twoVolumes, targetRpoMs: 20_000 };
    await expect(edit(wanted)).rejects.toMatchObject({ name: "OperationInProgress", details: { operationId } });
    await updateVpg(site, await getVpg(site, "shop"), { operationId: null, openTests: [operationId] });
    const other = { ...wanted, recoveryGateway: "gw-other" };
    await expect(edit(other)).rejects.toMatchObject({ name: "OperationInProgress" });
    expect((await edit(wanted)).changes).toHaveLength(1);
  });

  it("changes no volumes while a sync operation compares them, and settings all the same", async () => {
    const syncOperationId = newId(site.clock, site.random);
    await updateVpg(site, await getVpg(site, "shop"), { syncOperationId });
    const grown = withVolumes({ data: 128, log: 16 });
    await expect(edit(grown)).rejects.toMatchObject({
      name: "OperationInProgress",
      details: { operationId: syncOperationId },
    });
    expect((await edit({ ...twoVolumes, targetRpoMs: 20_000 })).changes).toHaveLength(1);
  });

  it("cut off before the bucket has it, is completed before a session names it", async () => {
    const wanted = withVolumes({ data: 64, log: 16, more: 8 });
    objects.failNext = true;
    await expect(edit(wanted)).rejects.toMatchObject({ name: "Transient" });
    const { vpgId } = await definition();
    expect(await objects.head(definitionKey(vpgId, 2))).toBeUndefined();
    const volumes = volumesOf(await definition()).map(({ vmName, name, sizeBytes, sectorBytes }) => ({
      ...{ vmName, name, sizeBytes, sectorBytes },
    }));
    const opened = await openSession(site, protectedVpg.source, openAsk(site, vpgId, { volumes }));
    expect(opened.configRevision).toBe(2);
    expect(await readDefinition(objects, vpgId, 2)).toEqual(await definition());
  });

  it("gives no number again that a table of an older time doesn't know", async () => {
    const older = await getVpg(site, "shop");
    await edit(withVolumes({ data: 64, log: 16, more: 8 }));
    await updateVpg(site, await getVpg(site, "shop"), { definition: older.definition });
    await expect(edit(withVolumes({ data: 64, log: 16, other: 8 }))).rejects.toMatchObject({
      name: "TableBehindBucket",
    });
  });
});

describe("a checkpoint of before an edit", () => {
  it("has the volumes and sizes of its own revision, also after the table was made again from the bucket", async () => {
    const { source, vpg } = protectedVpg;
    const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
    await ingestBatch(site, source, stream.synced());
    await ingestBatch(site, source, stream.checkpoint(site.clock.now()));
    const old = await resolveCheckpoint(site, vpg.vpgId, { kind: "latest" });
    await edit(withVolumes({ data: 128, more: 8 }, { targetRpoMs: 60_000 }));

    for (const rebuilt of [false, true]) {
      const at = rebuilt ? makeSite({ objects }) : site;
      if (rebuilt) await rebuildTable(at);
      const today = (await findVpg(at, vpg.vpgId))?.definition;
      if (today === undefined) throw new Error("the VPG is gone");
      expect(today).toMatchObject({ revision: 2, captureRevision: 2, lastVolume: 3 });
      const then = await definitionOfCheckpoint(at, today, old.id);
      expect(volumesOf(then).map(({ name, sizeBytes }) => [name, sizeBytes / MiB])).toEqual([
        ["data", 64],
        ["log", 16],
      ]);
      expect(then.targetRpoMs).toBe(60_000);
      const { items: lines } = await failoverCheck(at, await getVpg(at, "shop"));
      expect(lines).toContainEqual(expect.objectContaining({ what: "volumes", state: "warning" }));
      const moving = await moveCheck(at, await getVpg(at, "shop"));
      expect(moving.items).toContainEqual(expect.objectContaining({ what: "volumes", state: "blocked" }));
      expect(await checkpointParts(at, await getVpg(at, "shop"), old.id)).toMatchObject([{ volumes: [1, 2] }]);
    }
  });
});
