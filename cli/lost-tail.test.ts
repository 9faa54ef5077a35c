import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { siteKey } from "#core/journal/keys.ts";
import { formatPosition } from "#core/journal/position.ts";
import { jsonBytes } from "#core/json.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { protectAt, shop } from "../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../test/kit/failover-world.ts";
import { VirtualClock } from "../test/kit/virtual-clock.ts";
import type { contextOf } from "./context.ts";
import { offlineCheckpoints, openOfflineVpg, resolveOffline } from "./offline.ts";
import { chooseView } from "./view-source.ts";

let folder: string;
let world: FailoverWorld;

/** A failover to the oldest of three checkpoints, committed, whose bucket is in files. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-tail-"));
  const objects = await FileObjects.open(folder);
  const made = await protectAt({ objects, table: new SqliteTable(":memory:"), clock: new VirtualClock() }, shop);
  const identity = { formatVersion: 1, siteId: made.site.siteId, name: made.site.siteName, createdAt: 0 };
  await objects.put(siteKey, jsonBytes(identity), { ifAbsent: true });
  world = new FailoverWorld(made, {
    ask: {
      kind: "failover-live",
      options: {
        checkpoint: { kind: "tag", tag: "before" },
        shutdown: { policy: "none", graceMs: 0 },
        commitPolicy: { action: "commit", afterMs: 0 },
      },
    },
  });
  await world.run();
});
afterEach(() => {
  world.close();
  rmSync(folder, { recursive: true, force: true });
});

it("the bucket alone shows the same history and the same lost tail as the site", async () => {
  const { site, vpg } = world.shop;
  for (const lostTail of [undefined, operationId, idSchema.parse(vpg.vpgId)]) {
    const online = await listCheckpoints(site, vpg.vpgId, lostTail === undefined ? {} : { lostTail });
    const offline = await offlineCheckpoints(folder, "shop", lostTail);
    expect(offline.checkpoints.map(({ id }) => id)).toEqual(online.checkpoints.map(({ id }) => id));
  }
});

it("only who asks for the lost tail is given a checkpoint or a view of it", async () => {
  const vpg = await openOfflineVpg(folder, "shop");
  const idOf = async (lostTail?: Id) => (await resolveOffline(vpg, { kind: "latest" }, lostTail)).id;
  expect([await idOf(), await idOf(operationId)]).toEqual(["1-8", "1-12"]);
  await expect(resolveOffline(vpg, { kind: "id", id: "1-10" })).rejects.toMatchObject({ name: "NoCheckpoint" });

  const flags = { checkpoint: "1-10", volume: "db/data", offline: folder };
  const context: ReturnType<typeof contextOf> = Object.create(null);
  await expect(chooseView(context, "shop", flags)).rejects.toMatchObject({ name: "NoCheckpoint" });
  const view = await chooseView(context, "shop", { ...flags, lostTail: operationId });
  expect(formatPosition(view.upTo)).toBe("1-10");
});
