import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { batchKey, definitionKey } from "#core/journal/keys.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import { makeSite, openAsk, operator, protect, type TestSite, twoVolumes } from "../test/kit/site.ts";
import { Stream } from "../test/kit/stream.ts";
import { offlineCheckpoints, offlineDefinitions, openOfflineVpg, resolveOffline } from "./offline.ts";

const noon = Date.UTC(2030, 0, 1, 12);

let folder: string;
let site: TestSite;
let shop: VpgRecord;
let bar: VpgRecord;

/** Two VPGs; `shop` has checkpoints 1-6 and 1-8. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-offline-"));
  writeFileSync(join(folder, "site.json"), "{}");
  site = makeSite({ objects: await FileObjects.open(folder) });
  const made = await protect(site);
  shop = made.vpg;
  bar = await createVpg(site, createVpgSchema.parse({ ...twoVolumes, name: "bar" }), operator);
  const stream = new Stream(shop.vpgId, await openSession(site, made.source, openAsk(site, shop.vpgId)));
  for (const sent of [stream.synced(), stream.checkpoint(noon, "payday"), stream.checkpoint(noon + 1)]) {
    await ingestBatch(site, made.source, sent);
  }
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function damage(key: string): void {
  const bytes = readFileSync(join(folder, key));
  bytes[10] = (bytes[10] ?? 0) ^ 0x80;
  writeFileSync(join(folder, key), bytes);
}

describe("a name that deleted VPGs had too", () => {
  it("is that of the one that is there; of deleted ones alone an id says which", async () => {
    const of = (name: string) => createVpgSchema.parse({ ...twoVolumes, name });
    const first = await createVpg(site, of("bill"), operator);
    await deleteVpg(site, operator, first.vpgId);
    expect((await openOfflineVpg(folder, "bill")).definition.vpgId).toBe(first.vpgId);
    const second = await createVpg(site, of("bill"), operator);
    expect((await openOfflineVpg(folder, "bill")).definition.vpgId).toBe(second.vpgId);
    await deleteVpg(site, operator, second.vpgId);
    await expect(openOfflineVpg(folder, "bill")).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining(`${second.vpgId} (deleted)`),
    });
    expect((await openOfflineVpg(folder, first.vpgId)).definition.vpgId).toBe(first.vpgId);
  });
});

describe("a bucket of which something is damaged", () => {
  it("shows what is before a damaged batch, names it, and takes such a checkpoint by its id only", async () => {
    expect(await offlineCheckpoints(folder, "shop")).toMatchObject({
      checkpoints: [{ id: "1-8" }, { id: "1-6" }],
      damage: undefined,
    });
    const key = batchKey({ vpgId: shop.vpgId, term: 1, session: 1, batch: 2 });
    damage(key);
    const { checkpoints, damage: found } = await offlineCheckpoints(folder, "shop");
    expect(checkpoints.map(({ id }) => id)).toEqual(["1-6"]);
    expect(found).toMatchObject({ name: "Corrupt", details: { key } });
    const vpg = await openOfflineVpg(folder, "shop");
    expect(await resolveOffline(vpg, { kind: "id", id: "1-6" })).toMatchObject({ id: "1-6" });
    for (const selector of [
      { kind: "latest" },
      { kind: "tag", tag: "payday" },
      { kind: "time", time: noon },
      { kind: "id", id: "1-8" },
    ] as const) {
      await expect(resolveOffline(vpg, selector)).rejects.toMatchObject({ name: "Corrupt", details: { key } });
    }
    expect(await offlineCheckpoints(folder, "bar")).toMatchObject({ checkpoints: [], damage: undefined });
  });

  it("shows the other VPGs beside a damaged definition, and names it", async () => {
    const key = definitionKey(bar.vpgId, 1);
    damage(key);
    expect((await offlineCheckpoints(folder, "shop")).checkpoints).toHaveLength(2);
    await expect(openOfflineVpg(folder, "bar")).rejects.toMatchObject({ name: "Corrupt", details: { key } });
    const found = await offlineDefinitions(await FileObjects.open(folder, { readOnly: true }));
    expect(found.map(({ definition, damaged }) => [definition?.name, damaged.map((each) => each.key)])).toEqual([
      ["shop", []],
      [undefined, [key]],
    ]);
  });
});
