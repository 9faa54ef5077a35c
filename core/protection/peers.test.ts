import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { jittery } from "../../test/kit/mortal.ts";
import { holds } from "../../test/kit/property.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { makeSite, operator, protect, type TestSite } from "../../test/kit/site.ts";
import { deleteVpg } from "./delete-vpg.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import { type AddPeer, addPeerSchema, reverseProblem } from "./peer.ts";
import { addPeer, findPeer, listPeers, livePeers, readPeers, removePeer } from "./peers.ts";
import { rebuildTable } from "./rebuild.ts";
import { getVpg } from "./vpg-store.ts";
import { vpgView } from "./vpg-view.ts";

const [one, other] = ["01k3s1te000000000000000011", "01k3s1te000000000000000012"].map((id) => idSchema.parse(id));
const berlin: AddPeer = {
  name: "berlin",
  siteId: one ?? null,
  url: "https://berlin.example.com",
  region: "eu-central-1",
  journal: true,
};

let site: TestSite;
beforeEach(() => {
  site = makeSite();
});

const add = (change: Partial<AddPeer> = {}, at: Site = site) => addPeer(at, { ...berlin, ...change }, operator);
const objects = async (): Promise<readonly string[]> => (await site.objects.list("peers/")).map(({ key }) => key);

describe("a peer", () => {
  it("is known with who said so, and asking twice changes nothing", async () => {
    const added = await add();
    expect(added).toEqual({ ...berlin, changedAt: site.clock.now(), initiatedBy: "operator:ann" });
    await site.clock.advance(1000);
    expect(await add()).toEqual(added);
    expect(await listPeers(site)).toEqual([added]);
    expect(await objects()).toEqual(["peers/berlin/0000000001.json"]);
  });

  it("stays under its URL unless the same site answers at the other", async () => {
    await add();
    const elsewhere = "https://elsewhere.example.com";
    await expect(add({ url: elsewhere, siteId: null })).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining("is at https://berlin.example.com"),
    });
    await expect(add({ url: elsewhere, siteId: other ?? null })).rejects.toMatchObject({ name: "InvalidInput" });
    await expect(add({ siteId: other ?? null })).rejects.toMatchObject({ details: { field: "siteId" } });
    expect(await add({ url: elsewhere })).toMatchObject({ url: elsewhere, siteId: one });
  });

  it("that was not asked is known by its id once it was, and keeps it", async () => {
    expect(await add({ siteId: null })).toMatchObject({ siteId: null });
    expect(await add()).toMatchObject({ siteId: one });
    expect(await add({ siteId: null, journal: false })).toMatchObject({ siteId: one, journal: false });
  });

  it("is another site, and one of a bounded number", async () => {
    await expect(add({ siteId: site.siteId })).rejects.toMatchObject({ name: "InvalidInput" });
    for (let count = 0; count < limits.peersMax; count += 1) await add({ name: `p${count}` });
    await expect(add()).rejects.toMatchObject({ name: "LimitExceeded" });
    await add({ name: "p0", journal: false });
  });

  it("goes when no VPG names it, for good, and may come again as another", async () => {
    await protect(site);
    await expect(removePeer(site, "berlin", operator)).rejects.toMatchObject({ name: "NotFound" });
    await add();
    await expect(removePeer(site, "berlin", operator)).rejects.toMatchObject({
      name: "InvalidInput",
      details: { vpgs: "shop" },
    });
    await deleteVpg(site, operator, "shop");
    await removePeer(site, "berlin", operator);
    await removePeer(site, "berlin", operator);
    expect(await findPeer(site, "berlin")).toBeUndefined();
    await add({ siteId: other ?? null, url: "http://127.0.0.1:7700", region: null });
    expect(await objects()).toHaveLength(3);
  });
});

describe("peers in the bucket", () => {
  it("are all that a rebuild and an offline reader need, without the removed ones", async () => {
    await add();
    await add({ journal: false });
    await add({ name: "lyon" });
    await removePeer(site, "lyon", operator);
    const rebuilt = makeSite({ objects: site.objects });
    expect(await rebuildTable(rebuilt)).toMatchObject({ peers: 1 });
    expect(await listPeers(rebuilt)).toEqual(await listPeers(site));
    expect(livePeers(await readPeers(site.objects))).toEqual(await listPeers(site));
    await add({ name: "lyon" }, rebuilt);
    expect(await objects()).toContain("peers/lyon/0000000003.json");
  });

  it("are found again by the next change where the table had lost them", async () => {
    const added = await add();
    await site.table.transact([{ delete: items.peer("berlin") }]);
    await site.clock.advance(1000);
    expect(await add()).toEqual(added);
    expect(await objects()).toHaveLength(1);
  });

  it("and in the table are the same after whatever was asked at once", async () => {
    const ask = fc.constantFrom<Partial<AddPeer> | "remove">({}, { journal: false }, { siteId: null }, "remove", {
      siteId: other ?? null,
      url: "https://elsewhere.example.com",
    });
    await holds(
      fc.asyncProperty(fc.array(ask, { minLength: 2, maxLength: 6 }), fc.nat(), async (asks, seed) => {
        const table = new SqliteTable(":memory:");
        const plain = makeSite({ table });
        const random = new SeededRandom(seed);
        const busy = { ...plain, table: jittery(plain.table, random), objects: jittery(plain.objects, random) };
        const all = asks.map((each) => (each === "remove" ? removePeer(busy, "berlin", operator) : add(each, busy)));
        for (const done of await Promise.allSettled(all)) {
          if (done.status === "rejected") expect(["InvalidInput", "NotFound"]).toContain(done.reason.name);
        }
        expect(await listPeers(plain)).toEqual(livePeers(await readPeers(plain.objects)));
        table.close();
      }),
      { numRuns: 60 },
    );
  });
});

describe("reverse protection", () => {
  it.each([
    [undefined, "no site is known as berlin"],
    [{ siteId: one ?? null, journal: false }, "has no journal"],
    [{ siteId: null, journal: true }, "never asked"],
  ])("to %o is refused", (peer, message) => {
    expect(reverseProblem("berlin", peer)).toMatchObject({
      name: "PeerHasNoJournal",
      message: expect.stringContaining(message),
    });
  });

  it("is told of by the VPG, and its peer", async () => {
    const { vpg } = await protect(site);
    const shown = async () => vpgView(site, await getVpg(site, vpg.vpgId));
    expect(await shown()).toMatchObject({ reverseProblem: expect.stringContaining("no site is known") });
    const peer = await add();
    expect(await shown()).toMatchObject({ peer });
    expect(await shown()).not.toHaveProperty("reverseProblem");
  });
});

describe("a URL", () => {
  it.each([
    ["HTTPS://Berlin.Example.com:443/", "https://berlin.example.com"],
    ["http://127.0.0.1:7700", "http://127.0.0.1:7700"],
    ["https://proxy.example.com/farshore//", "https://proxy.example.com/farshore"],
  ])("%s is spelled %s", (url, spelled) => {
    expect(parseInput(addPeerSchema, { ...berlin, url }).url).toBe(spelled);
  });

  it.each([
    "",
    "berlin",
    "ftp://berlin",
    "https://",
    "https://me:secret@berlin",
    "https://b/?x=1",
    "https://b/#x",
    "https://b c",
  ])("%s is refused", (url) => {
    expect(() => parseInput(addPeerSchema, { ...berlin, url })).toThrow(/url/);
  });
});
