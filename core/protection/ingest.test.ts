import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import { counted } from "../../test/kit/counted.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { annotate, listCheckpoints, pinCheckpoint, unpinCheckpoint } from "./checkpoints.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { ingestBatch } from "./ingest.ts";
import { openSession } from "./open-session.ts";

const noon = Date.UTC(2030, 0, 1, 12);
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

async function opened() {
  const site = makeSite();
  const { vpg, source, recovery } = await protect(site);
  const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  await ingestBatch(site, source, stream.synced());
  return { site, vpg, source, recovery, stream };
}

describe("ingestBatch", () => {
  it("costs one put and one write of one item a batch and no read, once it knows the session", async () => {
    const { site, source, stream } = await opened();
    const calls: string[] = [];
    const watched = { ...site, objects: counted(site.objects, calls), table: counted(site.table, calls) };
    await ingestBatch(watched, source, stream.checkpoint(noon));
    calls.length = 0;
    for (let count = 0; count < 60; count += 1) await ingestBatch(watched, source, stream.checkpoint(noon + count));
    expect(calls).toEqual(Array.from({ length: 60 }, () => ["put", "transact 1"]).flat());
  });

  it("answers a resent batch as before and leaves pins and notes as they are", async () => {
    const { site, vpg, source, stream } = await opened();
    const sent = stream.checkpoint(noon, "payday");
    const first = await ingestBatch(site, source, sent);
    const id = `1-${stream.sequence}`;
    await pinCheckpoint(site, vpg.vpgId, id, "owner");
    await pinCheckpoint(site, vpg.vpgId, id, "owner");
    const operationId = newId(site.clock, site.random);
    await annotate(site, vpg.vpgId, id, operationId, "Tested at noon");
    await annotate(site, vpg.vpgId, id, operationId, "Tested at noon");
    expect(await ingestBatch({ ...site }, source, sent)).toEqual({ ...first, duplicate: true });
    const [listed] = (await listCheckpoints(site, vpg.vpgId)).checkpoints;
    expect(listed).toMatchObject({ id, pins: 1, tags: ["payday", "Tested at noon"] });
    await unpinCheckpoint(site, vpg.vpgId, id, "owner");
    await unpinCheckpoint(site, vpg.vpgId, id, "owner");
    expect((await listCheckpoints(site, vpg.vpgId)).checkpoints[0]?.pins).toBe(0);
  });

  it("takes what is within the window and says Gap, with what it waits for, beyond it", async () => {
    const { site, source, stream } = await opened();
    const missing = stream.checkpoint(noon);
    const ahead = Array.from({ length: 65 }, (_, index) => stream.checkpoint(noon + index));
    await ingestBatch(site, source, ahead[63] ?? missing);
    await expect(ingestBatch(site, source, ahead[64] ?? missing)).rejects.toMatchObject({
      name: "Gap",
      details: { expected: missing.batch },
    });
  });

  it("goes by the identity of the caller and never by the batch", async () => {
    const { site, recovery, stream } = await opened();
    const sent = stream.checkpoint(noon);
    await expect(ingestBatch(site, recovery, sent)).rejects.toMatchObject({ name: "Forbidden" });
    const role = { ...recovery, role: "operator" as const };
    await expect(ingestBatch(site, role, sent)).rejects.toMatchObject({ name: "Forbidden" });
  });

  it("refuses an unknown session, and a batch under another name than its own", async () => {
    const { site, source, stream } = await opened();
    const sent = stream.checkpoint(noon);
    await expect(ingestBatch(site, source, { ...sent, session: 9 })).rejects.toMatchObject({ name: "Fenced" });
    await expect(ingestBatch(site, source, { ...sent, term: 2 })).rejects.toMatchObject({ name: "Fenced" });
    await expect(ingestBatch(site, source, { ...sent, batch: sent.batch + 1 })).rejects.toMatchObject({
      name: "MalformedBatch",
      details: { field: "batch" },
    });
  });

  it("refuses a write beyond its volume and to a volume that isn't of the session, and stores nothing", async () => {
    const { site, source, stream } = await opened();
    const bytes = new Uint8Array(512);
    const beyond = stream.clone().next([{ volume: 2, offset: 16 * 2 ** 20, bytes }]);
    const foreign = stream.clone().next([{ volume: 3, offset: 0, bytes }]);
    const before = (await site.objects.list("journal/")).length;
    for (const sent of [beyond, foreign]) {
      await expect(ingestBatch(site, source, sent)).rejects.toMatchObject({ name: "MalformedBatch" });
    }
    expect((await site.objects.list("journal/")).length).toBe(before);
  });

  it("refuses every damaged batch by name and stores nothing of it", async () => {
    const { site, source, stream } = await opened();
    const good = stream.next(
      [{ volume: 1, offset: 4096, bytes: new Uint8Array(4096).fill(3) }],
      [{ kind: "marker", time: noon, tag: "x" }],
    );
    const damage = fc.oneof(
      fc.record({ at: fc.nat(good.body.length - 1), to: fc.integer({ min: 1, max: 255 }) }),
      fc.record({ cut: fc.nat(good.body.length - 1) }),
      fc.record({ add: fc.uint8Array({ minLength: 1, maxLength: 64 }) }),
    );
    const before = (await site.objects.list("journal/")).length;
    await fc.assert(
      fc.asyncProperty(damage, async (how) => {
        let body = Uint8Array.from(good.body);
        if ("at" in how) body[how.at] = (body[how.at] ?? 0) ^ how.to;
        else if ("cut" in how) body = body.subarray(0, how.cut);
        else body = Uint8Array.from([...body, ...how.add]);
        const error: unknown = await ingestBatch(site, source, { ...good, body }).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(FarshoreError);
        expect(["MalformedBatch", "UnsupportedFormat"]).toContain(error instanceof Error ? error.name : "");
      }),
      { numRuns: 300, seed },
    );
    expect((await site.objects.list("journal/")).length).toBe(before);
    expect(await ingestBatch(site, source, good)).toMatchObject({ duplicate: false });
  });
});

describe("acceptHeartbeat", () => {
  const beat = (vpgId: string, over: object) => ({
    version: "0.1.0",
    sampledAt: noon,
    processId: vpgId,
    attachedOperations: [],
    streams: [
      {
        ...{ vpgId, term: 1, session: 1, mode: "replicating", idle: true, backlogBytes: 0, lagMs: 0, sync: null },
        ...{ writes: 1, writtenBytes: 512, shippedBytes: 512, lastSequence: 0, acknowledgedSequence: 0, ...over },
      },
    ],
  });
  const validThrough = async (context: Awaited<ReturnType<typeof opened>>) =>
    (await listCheckpoints(context.site, context.vpg.vpgId)).checkpoints[0]?.validThrough;

  it("counts a checkpoint's age from before its batch was sent, however long that took", async () => {
    const context = await opened();
    const { site, source, stream } = context;
    const beganAt = site.clock.now();
    await site.clock.advance(40_000);
    await ingestBatch(site, source, { ...stream.checkpoint(noon), ageMs: 300, beganAt });
    expect(await validThrough(context)).toBe(beganAt - 300);
  });

  it("extends the newest checkpoint of an idle stream, and only then", async () => {
    const context = await opened();
    const { site, vpg, source, stream } = context;
    await ingestBatch(site, source, { ...stream.checkpoint(noon), ageMs: 300 });
    const first = site.clock.now() - 300;
    expect(await validThrough(context)).toBe(first);
    await site.clock.advance(5000);
    const { heartbeatSchema } = await import("#core/api/gateway-api.ts");
    const send = (over: object) => acceptHeartbeat(site, source, heartbeatSchema.parse(beat(vpg.vpgId, over)));
    const at = { lastSequence: stream.sequence, acknowledgedSequence: stream.sequence };
    await send({ ...at, idle: false });
    await send({ ...at, lastSequence: stream.sequence + 1 });
    await send({ ...at, mode: "delta-sync" });
    await send({ ...at, session: 2 });
    expect(await validThrough(context)).toBe(first);
    const reply = await send(at);
    expect(await validThrough(context)).toBe(site.clock.now());
    expect(reply).toMatchObject({ nextHeartbeatMs: 5000, streams: [{ fenced: false, paused: false, deleted: false }] });
  });

  it("extends it only up to when its state was surely sampled, however late a heartbeat comes", async () => {
    const context = await opened();
    const { site, vpg, source, stream } = context;
    await ingestBatch(site, source, stream.checkpoint(noon));
    const first = site.clock.now();
    const { heartbeatSchema } = await import("#core/api/gateway-api.ts");
    const at = { lastSequence: stream.sequence, acknowledgedSequence: stream.sequence };
    const send = (siteTime: number | null) =>
      acceptHeartbeat(site, source, heartbeatSchema.parse({ ...beat(vpg.vpgId, at), siteTime }));
    await site.clock.advance(20_000);
    await send(null);
    expect(await validThrough(context)).toBe(first);
    await send(first + 5000);
    expect(await validThrough(context)).toBe(first + 5000);
    await send(first + 60_000);
    expect(await validThrough(context)).toBe(first + 20_000);
    await send(first + 5000);
    expect(await validThrough(context)).toBe(first + 20_000);
  });

  it("tells a stream of an older session that it is fenced, and a stranger that there is nothing", async () => {
    const { site, vpg, source, recovery } = await opened();
    const { heartbeatSchema } = await import("#core/api/gateway-api.ts");
    await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }));
    const heartbeat = heartbeatSchema.parse(beat(vpg.vpgId, {}));
    const own = await acceptHeartbeat(site, source, heartbeat);
    const other = await acceptHeartbeat(site, recovery, heartbeat);
    expect(own.streams[0]).toMatchObject({ fenced: true, deleted: false });
    expect(other.streams[0]).toMatchObject({ fenced: true, deleted: true });
  });
});
