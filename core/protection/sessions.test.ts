import { describe, expect, it } from "vitest";
import { DuplicateGateway, RunGrantRefused } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { listCheckpoints, resolveCheckpoint } from "./checkpoints.ts";
import { ingestBatch } from "./ingest.ts";
import { openSession } from "./open-session.ts";
import { getVpg, updateVpg } from "./vpg-store.ts";

const noon = Date.UTC(2030, 0, 1, 12);

async function opened() {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const reply = await openSession(site, source, openAsk(site, vpg.vpgId));
  return { site, vpg, source, reply, stream: new Stream(vpg.vpgId, reply) };
}

describe("openSession (R4)", () => {
  it("opens session 1 with an initial sync", async () => {
    const { reply } = await opened();
    expect(reply).toMatchObject({ term: 1, session: 1, continues: false, sync: "initial" });
    expect(reply.journalEnd).toEqual({ session: 0, sequence: 0 });
    expect(reply.volumes.map(({ volume, name }) => [volume, name])).toEqual([
      [1, "data"],
      [2, "log"],
    ]);
  });

  it("gives the same nonce the same session, and another one with the old knowledge DuplicateGateway", async () => {
    const { site, vpg, source } = await opened();
    const ask = openAsk(site, vpg.vpgId, { lastSession: 1 });
    const second = await openSession(site, source, ask);
    expect(second.session).toBe(2);
    expect(await openSession(site, source, ask)).toEqual(second);
    await expect(openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 1 }))).rejects.toMatchObject({
      name: "DuplicateGateway",
      message: expect.stringContaining("farshore token create --role gateway --name gw-berlin"),
    });
  });

  it("continues only after an acknowledged close with all volumes synced", async () => {
    const { site, vpg, source, stream } = await opened();
    await ingestBatch(site, source, stream.synced());
    await ingestBatch(site, source, stream.checkpoint(noon));
    await ingestBatch(site, source, stream.close());
    const clean = { lastSession: 1, acknowledgedBatch: 2, cleanlyClosed: true };
    const second = await openSession(site, source, openAsk(site, vpg.vpgId, clean));
    expect(second).toMatchObject({ session: 2, continues: true, sync: "none" });
    expect(second.journalEnd).toEqual({ session: 1, sequence: stream.sequence });
    const third = await openSession(site, source, openAsk(site, vpg.vpgId, { lastSession: 2, cleanlyClosed: true }));
    expect(third).toMatchObject({ session: 3, continues: false, sync: "delta" });
  });

  it("says which volumes differ", async () => {
    const { site, vpg, source } = await opened();
    const volumes = [{ vmName: "db", name: "data", sizeBytes: 4096, sectorBytes: 512 }];
    const ask = openAsk(site, vpg.vpgId, { lastSession: 1, volumes });
    await expect(openSession(site, source, ask)).rejects.toMatchObject({
      name: "VolumesDiffer",
      message: expect.stringMatching(/db\/data has 4096 bytes, not 67108864; db\/log is missing/),
    });
    // It is said to the gateway that may run the VMs alone.
    await expect(openSession(site, source, { ...ask, lastSession: 0 })).rejects.toThrow(DuplicateGateway);
    await updateVpg(site, await getVpg(site, "shop"), { operationId: newId(site.clock, site.random) });
    await expect(openSession(site, source, ask)).rejects.toThrow(RunGrantRefused);
  });

  it("notices a site that lost what it had acknowledged", async () => {
    const { site, vpg, source, stream } = await opened();
    await ingestBatch(site, source, stream.synced());
    const ask = openAsk(site, vpg.vpgId, { lastSession: 1, acknowledgedBatch: 1 });
    await expect(openSession(site, source, ask)).rejects.toMatchObject({ name: "RecoverySiteRegressed" });
    const accepted = await openSession(site, source, { ...ask, acceptRegression: true });
    expect(accepted).toMatchObject({ session: 2, continues: false, sync: "delta" });
  });
});

describe("checkpoints", () => {
  it("lists none inside a sync and all after it", async () => {
    const { site, vpg, source, stream } = await opened();
    await ingestBatch(site, source, stream.checkpoint(noon));
    await ingestBatch(site, source, stream.synced());
    await ingestBatch(site, source, stream.checkpoint(noon + 5000, "before-upgrade"));
    await ingestBatch(site, source, stream.checkpoint(noon + 10_000));
    const page = await listCheckpoints(site, vpg.vpgId);
    expect(page.checkpoints.map(({ time }) => time)).toEqual([noon + 10_000, noon + 5000]);
    expect(page).toMatchObject({ total: 2, oldestTime: noon + 5000, newestTime: noon + 10_000 });
    const tagged = await resolveCheckpoint(site, vpg.vpgId, { kind: "tag", tag: "before-upgrade" });
    const timed = await resolveCheckpoint(site, vpg.vpgId, { kind: "time", time: noon + 9999 });
    expect(tagged.id).toBe(timed.id);
    await expect(resolveCheckpoint(site, vpg.vpgId, { kind: "time", time: noon })).rejects.toThrow(/2 are listed/);
  });

  it("counts a marker once its whole prefix exists, whatever the order of arrival", async () => {
    const { site, vpg, source, stream } = await opened();
    const batches = [stream.synced(), stream.checkpoint(noon), stream.checkpoint(noon + 1)];
    for (const batch of [2, 1]) await ingestBatch(site, source, batches[batch] ?? stream.close());
    expect((await listCheckpoints(site, vpg.vpgId)).total).toBe(0);
    await ingestBatch(site, source, batches[0] ?? stream.close());
    expect((await listCheckpoints(site, vpg.vpgId)).total).toBe(2);
    expect((await getVpg(site, "shop")).lastSession).toBe(1);
  });
});
