import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { makeSite } from "../../test/kit/site.ts";
import { items } from "./items.ts";
import { claimSite, tableLayout } from "./table-layout.ts";

const site = makeSite();
const empty = () => ({ objects: new MemoryObjects(), table: new SqliteTable(":memory:") });
const claim = (stores: Parameters<typeof claimSite>[0], name = "berlin") => claimSite(stores, name, site);

describe("a table's layout", () => {
  it("is noted for a site that is opened for the first time, also by two at once, and every start goes by it", async () => {
    const stores = empty();
    const [first, second] = await Promise.all([claim(stores), claim(stores)]);
    expect(second.siteId).toBe(first.siteId);
    expect(await claim(stores)).toEqual(first);
    expect((await stores.table.get(items.site()))?.fields).toEqual({ layout: tableLayout });
  });

  it("doesn't keep a site out whose first start was cut off", async () => {
    const { objects, table } = empty();
    const put = () => Promise.reject(new Error("cut off"));
    const get = (key: string) => objects.get(key);
    await expect(claim({ objects: Object.assign(new MemoryObjects(), { put, get }), table })).rejects.toThrow(
      "cut off",
    );
    expect(await claim({ objects, table })).toMatchObject({ name: "berlin" });
  });

  it.each([
    ["none", undefined],
    ["an older one", tableLayout - 1],
    ["a newer one", tableLayout + 1],
  ] as const)(
    "is refused when the bucket has a site and the table %s, with what to do, and nothing is written",
    async (_, layout) => {
      const { objects } = empty();
      await claim({ objects, table: new SqliteTable(":memory:") });
      const table = new SqliteTable(":memory:");
      if (layout !== undefined) await table.transact([{ put: items.site(), fields: { layout } }]);
      const before = await table.get(items.site());
      const refused = claim({ objects, table });
      await expect(refused).rejects.toMatchObject({ name: "TableBehindBucket" });
      await expect(refused).rejects.toThrow("farshore site rebuild");
      expect(await table.get(items.site())).toEqual(before);
    },
  );

  it("says nothing of a site of another name: that is refused as before", async () => {
    const stores = empty();
    await claim(stores);
    await expect(claim(stores, "paris")).rejects.toMatchObject({ name: "InvalidInput" });
  });
});
