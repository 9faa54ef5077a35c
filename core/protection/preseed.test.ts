import { describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { Fenced } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { BatchEvent } from "#core/journal/batch.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { batchKey, sessionClaimKey } from "#core/journal/keys.ts";
import { gatewayCallers, offered, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, openAsk, operator, protect, twoVolumes } from "../../test/kit/site.ts";
import { Stream, type Unplaced } from "../../test/kit/stream.ts";
import { listCheckpoints } from "./checkpoints.ts";
import { getCommand, pendingCommands, reportCommand } from "./commands.ts";
import { createVpg } from "./create-vpg.ts";
import { ingestBatch } from "./ingest.ts";
import { protectionLimits as limits } from "./limits.ts";
import { openSession } from "./open-session.ts";
import { cancelPreseeds, startPreseed } from "./preseed.ts";
import { rebuildTable } from "./rebuild.ts";

const bytes = new Uint8Array(4096).fill(1);
const copy = { vmName: "db", name: "data", path: "data.img" };

async function made() {
  const site = makeSite();
  const world = await protect(site);
  const { vpgId } = world.vpg;
  const seedAsk = (lastSession = 0) => openAsk(site, vpgId, { purpose: "seed", lastSession });
  const ask = (volumes = [copy]) => ({ requestId: newId(site.clock, site.random), volumes });
  return { site, vpgId, ...world, seedAsk, ask };
}

describe("a preseed at its site", () => {
  it("is a command to the recovery gateway, the same one for the same request", async () => {
    const { site, recovery, vpgId, ask } = await made();
    const request = ask();
    const { commandId } = await startPreseed(site, operator, "shop", request);
    expect(await startPreseed(site, operator, "shop", request)).toEqual({ commandId });
    if (recovery.gatewayId === null) throw new Error("no gateway");
    expect(await pendingCommands(site, recovery.gatewayId)).toMatchObject([
      { commandId, body: { kind: "preseed-volumes", vpgId, term: 1, volumes: [{ volume: 1, path: "data.img" }] } },
    ]);
  });

  it("is the one that is under way when the same copies are asked for again, until that has ended", async () => {
    const { site, recovery, ask } = await made();
    const { commandId } = await startPreseed(site, operator, "shop", ask());
    expect(await startPreseed(site, operator, "shop", ask())).toEqual({ commandId });
    const other = await startPreseed(site, operator, "shop", ask([{ ...copy, path: "other.img" }]));
    expect(other.commandId).not.toBe(commandId);
    await reportCommand(site, recovery, commandId, { state: "done", result: {} });
    expect((await startPreseed(site, operator, "shop", ask())).commandId).not.toBe(commandId);
  });

  it("waits for days, in a queue that says when it is full, and is cancelled there", async () => {
    const { site, recovery, ask } = await made();
    if (recovery.gatewayId === null) throw new Error("no gateway");
    const asked: string[] = [];
    const one = async (number: number) =>
      (await startPreseed(site, operator, "shop", ask([{ ...copy, path: `${number}.img` }]))).commandId;
    for (let number = 0; number < limits.preseedsQueuedMax; number += 1) asked.push(await one(number));
    await expect(one(99)).rejects.toMatchObject({ name: "LimitExceeded" });
    expect(await one(3)).toBe(asked[3]);
    await site.clock.advance(limits.preseedExpiryMs - 1);
    expect(await pendingCommands(site, recovery.gatewayId)).toHaveLength(limits.preseedsQueuedMax);
    await reportCommand(site, recovery, asked[0] ?? "", { state: "done", result: {} });
    expect([...(await cancelPreseeds(site, operator, "shop")).commandIds].sort()).toEqual(asked.slice(1).sort());
    expect(await pendingCommands(site, recovery.gatewayId)).toEqual([]);
    expect(await getCommand(site, asked[1] ?? "")).toMatchObject({
      state: "failed",
      error: { name: "CommandFailed", message: expect.stringContaining("cancelled by operator:ann") },
    });
    // What its gateway still says of it is too late.
    await reportCommand(site, recovery, asked[1] ?? "", { state: "done", result: {} });
    expect((await getCommand(site, asked[1] ?? "")).state).toBe("failed");
    expect((await getCommand(site, asked[0] ?? "")).state).toBe("done");
    expect(await cancelPreseeds(site, operator, "shop")).toEqual({ commandIds: [] });
  });

  it("is refused by name for what isn't there, twice the same, and where nobody could do it", async () => {
    const { site, ask } = await made();
    const refused = (volumes: (typeof copy)[], ref = "shop") => startPreseed(site, operator, ref, ask(volumes));
    await expect(refused([{ ...copy, name: "other" }])).rejects.toMatchObject({ name: "NotFound" });
    await expect(refused([copy, copy])).rejects.toMatchObject({ name: "InvalidInput" });
    const alone = { ...twoVolumes, name: "alone", recoveryGateway: null, compute: "none" };
    await createVpg(site, createVpgSchema.parse(alone), operator);
    await expect(refused([copy], "alone")).rejects.toMatchObject({ name: "ComputeNotConfigured" });
    const own = { ...twoVolumes, name: "own", recoveryGateway: "gw-berlin" };
    await createVpg(site, createVpgSchema.parse(own), operator);
    await expect(refused([copy], "own")).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("makes no checkpoint, and the source's first session seals it and is a delta", async () => {
    const { site, vpgId, source, recovery, seedAsk, ask } = await made();
    await expect(openSession(site, source, seedAsk())).rejects.toMatchObject({ name: "Forbidden" });
    const seeds = await openSession(site, recovery, seedAsk());
    expect(seeds).toMatchObject({ session: 1, sync: "initial" });
    const stream = new Stream(vpgId, seeds);
    await ingestBatch(site, recovery, stream.next([{ volume: 1, offset: 0, bytes }]));
    // Killed, it asks again with what it remembers.
    const again = new Stream(vpgId, await openSession(site, recovery, seedAsk(1)));
    await ingestBatch(site, recovery, again.next([{ volume: 1, offset: 4096, bytes }]));

    const first = await openSession(site, source, openAsk(site, vpgId));
    expect(first).toMatchObject({ session: 3, continues: false, sync: "delta" });
    expect(first.journalEnd).toEqual({ session: 2, sequence: 1 });
    const late = again.next([{ volume: 1, offset: 8192, bytes }]);
    await expect(ingestBatch(site, recovery, late)).rejects.toBeInstanceOf(Fenced);
    await expect(openSession(site, recovery, seedAsk(2))).rejects.toMatchObject({ name: "ProtectionBegan" });
    await expect(startPreseed(site, operator, "shop", ask())).rejects.toMatchObject({ name: "ProtectionBegan" });
    expect((await listCheckpoints(site, vpgId, { limit: 10 })).checkpoints).toEqual([]);

    const synced = new Stream(vpgId, first);
    await ingestBatch(site, source, synced.synced());
    await ingestBatch(site, source, synced.checkpoint(site.clock.now()));
    expect((await listCheckpoints(site, vpgId, { limit: 10 })).checkpoints).toHaveLength(1);
  });

  it.each<[string, Unplaced<BatchEvent>]>([
    ["a sync-end", { kind: "sync-end", volume: 1 }],
    ["a marker", { kind: "marker", time: 5, tag: "" }],
    ["a hold", { kind: "hold", time: 5 }],
    ["a final", { kind: "final", operationId: "01k3zper4t0000000000000009", hash: new Uint8Array(32) }],
    ["a resize", { kind: "resize", volume: 1, sizeBytes: 2 ** 30 }],
  ])("takes nothing but data and its end: %s is refused", async (_, event) => {
    const { site, vpgId, recovery, seedAsk } = await made();
    const stream = new Stream(vpgId, await openSession(site, recovery, seedAsk()));
    await ingestBatch(
      site,
      recovery,
      stream.next([{ volume: 1, offset: 0, bytes }], [{ kind: "sync-begin", volume: 1 }]),
    );
    const refused = ingestBatch(site, recovery, stream.clone().next([], [event]));
    await expect(refused).rejects.toMatchObject({
      name: "MalformedBatch",
      message: expect.stringContaining(event.kind),
    });
    await ingestBatch(site, recovery, stream.close());
  });

  it("makes no checkpoint even of a batch that stands in the bucket, at the site, after a rebuild and offline", async () => {
    const { site, vpgId, recovery, seedAsk } = await made();
    const stream = new Stream(vpgId, await openSession(site, recovery, seedAsk()));
    for (const sent of [stream.synced(), stream.checkpoint(site.clock.now())]) {
      await site.objects.put(batchKey(sent), sent.body, { ifAbsent: true });
    }
    const listed = async (at: typeof site) => {
      const { checkpoints, total } = await listCheckpoints(at, vpgId, { limit: 5 });
      return [checkpoints.length, total];
    };
    expect(await listed(site)).toEqual([0, 0]);
    const rebuilt = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(rebuilt);
    expect(await listed(rebuilt)).toEqual([0, 0]);
    expect((await BucketJournal.open(site.objects, vpgId)).checkpoints()).toEqual([]);
  });

  it("sees a source's session that stands in the bucket alone, since the call that opened it was cut off", async () => {
    const { site, vpgId, source, recovery, seedAsk } = await made();
    let writes = 0;
    const table: typeof site.table = {
      get: (key) => site.table.get(key),
      query: (...asked) => site.table.query(...asked),
      transact: (actions) => {
        writes += 1;
        return writes === 2 ? Promise.reject(new Error("cut off")) : site.table.transact(actions);
      },
    };
    const ask = openAsk(site, vpgId);
    await expect(openSession({ ...site, table }, source, ask)).rejects.toThrow("cut off");
    await expect(openSession(site, recovery, seedAsk())).rejects.toMatchObject({ name: "ProtectionBegan" });
    expect((await openSession(site, source, ask)).session).toBe(1);
  });

  it("sees it also behind an earlier preseed, while the call that opens it is between bucket and table", async () => {
    const { site, vpgId, source, recovery, seedAsk } = await made();
    const stream = new Stream(vpgId, await openSession(site, recovery, seedAsk()));
    await ingestBatch(site, recovery, stream.next([{ volume: 1, offset: 0, bytes }]));
    let again: Promise<unknown> | undefined;
    const objects: typeof site.objects = {
      get: (...asked) => site.objects.get(...asked),
      head: (key) => site.objects.head(key),
      list: (...asked) => site.objects.list(...asked),
      delete: (key) => site.objects.delete(key),
      purge: (...asked) => site.objects.purge(...asked),
      put: async (...asked) => {
        const created = await site.objects.put(...asked);
        if (asked[0] === sessionClaimKey(vpgId, 2)) {
          again = openSession(site, recovery, seedAsk(1));
          await again.catch(() => undefined);
        }
        return created;
      },
    };
    const first = await openSession({ ...site, objects }, source, openAsk(site, vpgId));
    expect(first).toMatchObject({ session: 2, sync: "delta", journalEnd: { session: 1, sequence: 1 } });
    await expect(again).rejects.toMatchObject({ name: "ProtectionBegan" });
    expect((await openSession(site, source, openAsk(site, vpgId, { lastSession: 2 }))).session).toBe(3);
  });

  it("is known of the bucket alone: after a rebuild the source still comes first, and seeds still not behind it", async () => {
    const { site, vpgId, source, recovery, seedAsk } = await made();
    await openSession(site, recovery, seedAsk());
    const rebuilt = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(rebuilt);
    const second = await openSession(rebuilt, recovery, seedAsk(1));
    expect(second.session).toBe(2);
    const first = await openSession(rebuilt, source, openAsk(site, vpgId));
    expect(first.session).toBe(3);
    const after = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(after);
    await expect(openSession(after, recovery, seedAsk(2))).rejects.toMatchObject({ name: "ProtectionBegan" });
    expect((await openSession(after, source, openAsk(site, vpgId, { lastSession: 3 }))).session).toBe(4);
  });

  it("leaves the sessions of a VPG's other source gateways alone", async () => {
    const site = makeSite();
    const names = ["gw-a", "gw-b"];
    const [a, b, recovery] = await gatewayCallers(site, names);
    if (a === undefined || b === undefined || recovery === undefined) throw new Error("no gateways");
    const { vpgId } = await createVpg(site, severalGateways(names), operator);
    const volumes = [...offered(0), ...offered(1)];
    const seeds = await openSession(site, recovery, openAsk(site, vpgId, { purpose: "seed", volumes }));
    const stream = new Stream(vpgId, seeds);
    await ingestBatch(site, recovery, stream.next([{ volume: 1, offset: 0, bytes }]));
    const first = await openSession(site, a, openAsk(site, vpgId, { volumes: offered(0) }));
    const second = await openSession(site, b, openAsk(site, vpgId, { volumes: offered(1) }));
    expect([first.sync, second.sync]).toEqual(["delta", "delta"]);
    const late = stream.next([{ volume: 1, offset: 0, bytes }]);
    await expect(ingestBatch(site, recovery, late)).rejects.toBeInstanceOf(Fenced);
    await ingestBatch(site, a, new Stream(vpgId, first).next([{ volume: 1, offset: 0, bytes }]));
    await ingestBatch(site, b, new Stream(vpgId, second).next([{ volume: 2, offset: 0, bytes }]));
  });
});
