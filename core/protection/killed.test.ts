import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { newId } from "#core/ids.ts";
import { callerText, type Site } from "#core/site.ts";
import { listed, listedOffline } from "../../test/kit/listing.ts";
import { Life, mortal } from "../../test/kit/mortal.ts";
import { makeSite, openAsk, operator, protect, twoVolumes } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { createVpg } from "./create-vpg.ts";
import { deleteVpg } from "./delete-vpg.ts";
import { ingestBatch } from "./ingest.ts";
import { items } from "./items.ts";
import { openSession } from "./open-session.ts";
import { rebuildTable } from "./rebuild.ts";
import { assertTableCurrent } from "./terms.ts";
import { authenticateToken, createToken } from "./tokens.ts";
import { findByRef, getVpg, listVpgs, updateVpg } from "./vpg-store.ts";

const noon = Date.UTC(2030, 0, 1, 12);
const writes = new Set(["put", "transact"]);

/** More writes than any act here makes: the loop ends by itself when the act is through. */
const writesMost = 100;

/**
 * Runs `act` with the process killed right after its 1st, 2nd, … write, each time in a world of its own, then `after` in
 * a new process; until the act gets through without dying. Answers how many deaths there were.
 */
async function afterEveryWrite<World>(
  begin: (site: Site) => Promise<World>,
  act: (site: Site, world: World) => Promise<unknown>,
  after: (site: Site, world: World, deaths: number) => Promise<void>,
): Promise<number> {
  for (let deaths = 1; deaths < writesMost; deaths += 1) {
    const [objects, table] = [new MemoryObjects(), new SqliteTable(":memory:")];
    const world = await begin(makeSite({ objects, table }));
    const life = new Life();
    let left = deaths;
    const onCall = (method: string) => {
      if (!writes.has(method)) return;
      left -= 1;
      if (left === 0) life.kill();
    };
    const dying = makeSite({ objects: mortal(objects, life, onCall), table: mortal(table, life, onCall), seed: 7 });
    const outcome = await life.race(act(dying, world).then(() => "through"));
    await after(makeSite({ objects, table, seed: 11 }), world, deaths);
    if (outcome === "through") return deaths - 1;
  }
  throw new Error(`more than ${writesMost} writes`);
}

describe("killed after any write", () => {
  it("openSession gives the same nonce its session, and nothing is ever behind", async () => {
    const deaths = await afterEveryWrite(
      async (site) => {
        const made = await protect(site);
        const stream = new Stream(made.vpg.vpgId, await openSession(site, made.source, openAsk(site, made.vpg.vpgId)));
        await ingestBatch(site, made.source, stream.synced());
        await ingestBatch(site, made.source, stream.checkpoint(noon));
        const ask = openAsk(site, made.vpg.vpgId, { lastSession: 1, acknowledgedBatch: 1 });
        return { ...made, ask, stream };
      },
      (site, { source, ask }) => openSession(site, source, ask),
      async (site, { vpg, source, ask }) => {
        await assertTableCurrent(site, await getVpg(site, vpg.vpgId));
        const reply = await openSession(site, source, ask);
        expect(reply).toMatchObject({ session: 2, sync: "delta", continues: false });
        expect(await openSession(site, source, ask)).toEqual(reply);
        expect((await getVpg(site, vpg.vpgId)).lastSession).toBe(2);
        expect(await listed(site, vpg.vpgId)).toHaveLength(1);
      },
    );
    expect(deaths).toBeGreaterThanOrEqual(4);
  });

  it("openSession lets another process of the gateway in that never learnt of it", async () => {
    await afterEveryWrite(
      async (site) => {
        const made = await protect(site);
        return { ...made, ask: openAsk(site, made.vpg.vpgId) };
      },
      (site, { source, ask }) => openSession(site, source, ask),
      async (site, { vpg, source, ask }) => {
        // Its nonce is durable at the gateway: it asks with it first, and only then for a session of its own.
        const { session } = await openSession(site, source, ask);
        const next = openAsk(site, vpg.vpgId, { lastSession: session });
        expect(await openSession(site, source, next)).toMatchObject({ session: 2 });
        expect(await listedOffline(site, vpg.vpgId)).toEqual([]);
      },
    );
  });

  it("createVpg is completed by asking again, and a rebuild shows no half of one", async () => {
    const deaths = await afterEveryWrite(
      async (site) => {
        for (const name of ["gw-berlin", "gw-recovery"]) await createToken(site, { name, role: "gateway" }, operator);
      },
      (site) => createVpg(site, twoVolumes, operator),
      async (site) => {
        const known = await findByRef(site, "shop");
        const made = known ?? (await createVpg(site, twoVolumes, { ...operator, name: "another" }));
        const initiators = [callerText(operator), "operator:another"];
        expect(initiators).toContain(made.definition.initiatedBy);
        expect((await listVpgs(site)).map(({ vpgId }) => vpgId)).toEqual([made.vpgId]);
        await assertTableCurrent(site, made);
        const rebuilt = makeSite({ objects: site.objects, table: new SqliteTable(":memory:") });
        expect((await rebuildTable(rebuilt)).vpgs.map(({ name }) => name)).toEqual(["shop"]);
      },
    );
    expect(deaths).toBe(4);
  });

  it("deleteVpg is completed by asking again, and its name is free", async () => {
    const deaths = await afterEveryWrite(
      async (site) => {
        const made = await protect(site);
        await openSession(site, made.source, openAsk(site, made.vpg.vpgId));
        return made;
      },
      (site) => deleteVpg(site, operator, "shop"),
      async (site, { vpg, source }) => {
        if ((await findByRef(site, "shop")) !== undefined) await deleteVpg(site, operator, "shop");
        await expect(getVpg(site, vpg.vpgId)).rejects.toMatchObject({ name: "NotFound" });
        const ask = openAsk(site, vpg.vpgId, { lastSession: 1 });
        await expect(openSession(site, source, ask)).rejects.toMatchObject({ name: "Fenced" });
        const again = await createVpg(site, twoVolumes, operator);
        expect(again.vpgId).not.toBe(vpg.vpgId);
        const rebuilt = makeSite({ objects: site.objects, table: new SqliteTable(":memory:") });
        await rebuildTable(rebuilt);
        expect((await listVpgs(rebuilt)).map(({ vpgId }) => vpgId)).toEqual([again.vpgId]);
      },
    );
    expect(deaths).toBeGreaterThanOrEqual(4);
  });

  it("ingestBatch: what was stored is listed, and the resent batch gets its answer", async () => {
    const deaths = await afterEveryWrite(
      async (site) => {
        const made = await protect(site);
        const stream = new Stream(made.vpg.vpgId, await openSession(site, made.source, openAsk(site, made.vpg.vpgId)));
        await ingestBatch(site, made.source, stream.synced());
        return { ...made, sent: stream.checkpoint(noon) };
      },
      (site, { source, sent }) => ingestBatch(site, source, sent),
      async (site, { vpg, source, sent }) => {
        expect(await listed(site, vpg.vpgId)).toHaveLength(1);
        expect(await ingestBatch(site, source, sent)).toMatchObject({ duplicate: true });
        expect(await listed(site, vpg.vpgId)).toEqual(await listedOffline(site, vpg.vpgId));
      },
    );
    expect(deaths).toBe(2);
  });

  it("createToken can be asked for again", async () => {
    await afterEveryWrite(
      (site) => createToken(site, { name: "gw", role: "gateway" }, operator),
      (site) => createToken(site, { name: "gw", role: "gateway" }, operator),
      async (site, first) => {
        const again = await createToken(site, { name: "gw", role: "gateway" }, operator);
        expect(again.gatewayId).toBe(first.gatewayId);
        expect(again.token).not.toBe(first.token);
      },
    );
  });
});

describe("a token that is made again, killed after any write", () => {
  it("is refused after a rebuild whenever it was refused before it", async () => {
    const seen = new Set<boolean>();
    const known = (site: Site, token: string) => authenticateToken(site, token).then(Boolean, () => false);
    await afterEveryWrite(
      (site) => createToken(site, { name: "gw", role: "gateway" }, operator),
      (site) => createToken(site, { name: "gw", role: "gateway" }, operator),
      async (site, first) => {
        const before = await known(site, first.token);
        seen.add(before);
        const rebuilt = makeSite({ objects: site.objects, table: new SqliteTable(":memory:") });
        await rebuildTable(rebuilt);
        if (!before) expect(await known(rebuilt, first.token)).toBe(false);
        const again = await createToken(rebuilt, { name: "gw", role: "gateway" }, operator);
        expect(again.gatewayId).toBe(first.gatewayId);
      },
    );
    expect(seen).toEqual(new Set([true, false]));
  });
});

describe("a live failover under way (R17)", () => {
  it.each([
    ["Starting", "granted"],
    ["AttachingVolumes", "granted"],
    ["Booting", "refused"],
    ["BeforeCommit", "refused"],
    ["Committing", "refused"],
    ["Promoting", "refused"],
    ["RollingBack", "refused"],
    ["RolledBack", "granted"],
  ] as const)("%s: a gateway that starts is %s", async (phase, outcome) => {
    const site = makeSite();
    const { vpg, source } = await protect(site);
    const operationId = newId(site.clock, site.random);

    await updateVpg(site, vpg, { operationId }, [
      { put: items.operation(operationId), fields: { kind: "failover-live", phase } },
    ]);
    const opening = openSession(site, source, openAsk(site, vpg.vpgId));
    if (outcome === "granted") expect(await opening).toMatchObject({ session: 1 });
    else await expect(opening).rejects.toMatchObject({ name: "RunGrantRefused" });
  });
});
