import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Table, TableAction, TableFields, TableItem } from "#core/ports.ts";

export interface TableUnderTest {
  readonly table: Table;
  /** Another client of the same table, where there can be one; by default the same. */
  readonly other?: Table;
  dispose?(): Promise<void>;
}

/** What every adapter of the `Table` port must do; `make` gives an empty table. */
export function tableContract(name: string, make: () => Promise<TableUnderTest>): void {
  describe(`${name} keeps the contract of Table`, () => {
    let tested: TableUnderTest;
    let table: Table;
    let other: Table;
    beforeEach(async () => {
      tested = await make();
      table = tested.table;
      other = tested.other ?? tested.table;
    });
    afterEach(() => tested.dispose?.());

    const key = { pk: "p", sk: "s" };
    const put = (sk: string, fields: TableFields = {}, pk = "p"): TableAction => ({ put: { pk, sk }, fields });
    const refused = (index: number) => ({ name: "ConditionFailed", details: { index } });

    describe("items", () => {
      it("come back as they were put, to another client too", async () => {
        const fields = {
          text: "ä\u{1F600}\0",
          n: -1.5,
          big: Number.MAX_SAFE_INTEGER,
          yes: true,
          no: null,
          deep: { a: [1, { b: [] }] },
        };
        await table.transact([{ put: key, fields }]);
        expect(await other.get(key)).toEqual({ ...key, rev: 1, fields });
        expect(await table.get({ pk: "p", sk: "none" })).toBeUndefined();
      });
      it("count their writes in rev, from 1 again after a delete", async () => {
        for (let rev = 1; rev <= 3; rev++) {
          await table.transact([{ put: key, fields: { rev } }]);
          expect((await table.get(key))?.rev).toBe(rev);
        }
        await table.transact([{ delete: key }]);
        await table.transact([{ delete: key }]);
        expect(await other.get(key)).toBeUndefined();
        await table.transact([{ put: key, fields: {} }]);
        expect((await table.get(key))?.rev).toBe(1);
      });
      it("are replaced whole", async () => {
        await table.transact([{ put: key, fields: { a: 1, b: 2 } }]);
        await table.transact([{ put: key, fields: { b: 3 } }]);
        expect((await table.get(key))?.fields).toEqual({ b: 3 });
      });
    });

    describe("conditions", () => {
      it("absent: creates once", async () => {
        const create: TableAction = { put: key, fields: {}, if: { absent: true } };
        await table.transact([create]);
        await expect(other.transact([create])).rejects.toMatchObject(refused(0));
        expect((await table.get(key))?.rev).toBe(1);
      });
      it("rev: only the one that was read", async () => {
        await expect(table.transact([{ put: key, fields: {}, if: { rev: 1 } }])).rejects.toMatchObject(refused(0));
        await table.transact([put("s")]);
        await table.transact([{ put: key, fields: { second: true }, if: { rev: 1 } }]);
        await expect(table.transact([{ put: key, fields: {}, if: { rev: 1 } }])).rejects.toMatchObject(refused(0));
        await expect(table.transact([{ delete: key, if: { rev: 3 } }])).rejects.toMatchObject(refused(0));
        await table.transact([{ delete: key, if: { rev: 2 } }]);
        expect(await table.get(key)).toBeUndefined();
      });
      const stored = { n: 1, text: "x", list: [1, { a: 1, b: [2] }], map: { x: 1, y: { z: null } }, none: null };
      it.each<[string, TableFields]>([
        ["one field", { n: 1 }],
        ["all of them", stored],
        ["no field at all", {}],
        ["maps in another order of names", { map: { y: { z: null }, x: 1 }, list: [1, { b: [2], a: 1 }] }],
        ["a missing field and null", { missing: null, none: null }],
        ["a name that every object has", { toString: null }],
      ])("equals: holds for %s", async (_, equals) => {
        await table.transact([{ put: key, fields: stored }]);
        await table.transact([{ check: key, if: { equals } }]);
      });
      it.each<[string, TableFields]>([
        ["another value", { n: 2 }],
        ["another type", { n: "1" }],
        ["a list in another order", { list: [{ a: 1, b: [2] }, 1] }],
        ["a shorter list", { list: [1] }],
        ["part of a map", { map: { x: 1 } }],
        ["a map with more", { map: { x: 1, y: { z: null }, w: 1 } }],
        ["a missing name inside a map that isn't null there", { map: { x: 1, y: {} } }],
        ["a missing field and a value", { missing: 0 }],
        ["null and a value", { none: false }],
        ["a list and a map", { list: { 0: 1 } }],
        ["one right and one wrong", { n: 1, text: "y" }],
      ])("equals: fails for %s", async (_, equals) => {
        await table.transact([{ put: key, fields: stored }]);
        await expect(table.transact([{ check: key, if: { equals } }])).rejects.toMatchObject(refused(0));
      });
      it("equals: fails for an absent item, even with nothing named", async () => {
        await expect(table.transact([{ check: key, if: { equals: {} } }])).rejects.toMatchObject(refused(0));
      });
    });

    describe("transact", () => {
      it("does all or nothing, and names the first action that failed", async () => {
        await table.transact([put("kept", { v: 1 }), put("gone")]);
        const attempt: TableAction[] = [
          put("new"),
          put("kept", { v: 2 }),
          { delete: { pk: "p", sk: "gone" } },
          { check: { pk: "p", sk: "missing" }, if: { rev: 7 } },
          { put: { pk: "q", sk: "x" }, fields: {}, if: { rev: 9 } },
        ];
        await expect(table.transact(attempt)).rejects.toMatchObject(refused(3));
        const { items } = await other.query("p");
        expect(items.map(({ sk, rev }) => [sk, rev])).toEqual([
          ["gone", 1],
          ["kept", 1],
        ]);
      });
      it("checks without writing", async () => {
        await table.transact([put("s", { a: 1 })]);
        await table.transact([{ check: key, if: { rev: 1 } }, put("t")]);
        expect((await table.get(key))?.rev).toBe(1);
      });
      it("lets exactly one of many racing clients win each revision, and loses no update", async () => {
        await table.transact([{ put: key, fields: { count: 0 } }]);
        const increment = async (client: Table) => {
          for (;;) {
            const item = await client.get(key);
            const count = Number(item?.fields["count"]);
            try {
              await client.transact([{ put: key, fields: { count: count + 1 }, if: { rev: item?.rev ?? 0 } }]);
              return;
            } catch (error) {
              expect(error).toMatchObject(refused(0));
            }
          }
        };
        await Promise.all(Array.from({ length: 20 }, (_, place) => increment(place % 2 === 0 ? table : other)));
        expect(await other.get(key)).toMatchObject({ rev: 21, fields: { count: 20 } });
      });
      it("keeps each of many concurrent transactions whole, whatever the others do", async () => {
        const answers = await Promise.allSettled(
          Array.from({ length: 30 }, (_, place) =>
            (place % 2 === 0 ? table : other).transact([
              put(`side-${place}`),
              { put: { pk: "p", sk: `slot-${place % 10}` }, fields: { place }, if: { absent: true } },
            ]),
          ),
        );
        const won = answers.flatMap((answer, place) => (answer.status === "fulfilled" ? [place] : []));
        expect(won).toHaveLength(10);
        const { items } = await table.query("p");
        expect(items.filter(({ sk }) => sk.startsWith("side-")).map(({ sk }) => sk)).toEqual(
          won.map((place) => `side-${place}`).sort(),
        );
      });
      it("takes 100 actions, and none at all", async () => {
        await table.transact(Array.from({ length: 100 }, (_, place) => put(`k${place}`)));
        await table.transact([]);
        expect((await table.query("p")).items).toHaveLength(100);
      });
      it.each<[string, () => TableAction[]]>([
        ["101 actions", () => Array.from({ length: 101 }, (_, place) => put(`k${place}`))],
        ["one key twice", () => [put("s"), { check: key, if: { absent: true } }]],
        ["an empty pk", () => [put("s", {}, "")]],
        ["an empty sk", () => [put("")]],
        ["a lone surrogate in a key", () => [put("\ud800")]],
        ["NUL in a key", () => [put("a\0b")]],
        ["a sort key of 1025 bytes", () => [put(`${"ä".repeat(512)}x`)]],
        [
          "items of more than 4 MB in all",
          () => Array.from({ length: 11 }, (_, index) => put(`s${index}`, { body: "x".repeat(400_000) })),
        ],
        ["an item of more than 400 KB", () => [put("s", { body: "ä".repeat(205_000) })]],
        ["a number that JSON can't hold", () => [put("s", { n: Number.NaN })]],
        ["minus zero", () => [put("s", { n: -0 })]],
        ["something that is no value", () => [put("s", { when: new Date(0) as unknown as string })]],
      ])("refuses %s and stores nothing", async (_, actions) => {
        await expect(table.transact(actions())).rejects.toMatchObject({ name: "InvalidInput" });
        expect((await table.query("p")).items).toEqual([]);
      });
      it("takes an item just below 400 KB", async () => {
        await table.transact([put("s", { body: "x".repeat(409_000) })]);
        expect((await other.get(key))?.fields["body"]).toHaveLength(409_000);
      });
    });

    describe("query", () => {
      // In the order of their UTF-8 bytes, which is not the order of JavaScript's strings (the last two).
      const sks = ["#", "a", "a#1", "a#10", "a#2", "aa", "b", "é", "\uffee", "\u{1F600}"];
      beforeEach(() =>
        table.transact([...sks.map((sk, place) => put(sk, { place })), put("other", {}, "p2"), put("x", {}, "o")]),
      );
      const names = (page: { readonly items: readonly TableItem[] }) => page.items.map(({ sk }) => sk);
      const pages = async (pk: string, options: Parameters<Table["query"]>[1]) => {
        const found: string[] = [];
        for (let cursor: string | undefined; ; ) {
          const page = await other.query(pk, cursor === undefined ? options : { ...options, cursor });
          expect(page.items.length).toBeLessThanOrEqual(options?.limit ?? 1000);
          found.push(...names(page));
          if (page.cursor === undefined) return found;
          cursor = page.cursor;
        }
      };

      it("gives one pk's items in byte order, and backwards", async () => {
        expect(names(await table.query("p"))).toEqual(sks);
        expect(names(await table.query("p", { reverse: true }))).toEqual([...sks].reverse());
        expect(names(await table.query("nobody"))).toEqual([]);
        expect((await table.query("p", { limit: 2 })).items[1]).toEqual({
          pk: "p",
          sk: "a",
          rev: 1,
          fields: { place: 1 },
        });
      });
      it.each([
        { from: "a", to: "b" },
        { from: "a#", to: "a$" },
        { from: "a#1" },
        { to: "a#1" },
        { from: "b", to: "a" },
        { from: "b", to: "b" },
        { from: "\uffff" },
        { from: "", to: "zz" },
      ])("keeps to $from .. $to in both directions and at every page size", async (range) => {
        const bytes = (text: string) => Buffer.from(text);
        const wanted = sks.filter(
          (sk) =>
            Buffer.compare(bytes(sk), bytes(range.from ?? "")) >= 0 &&
            (range.to === undefined || Buffer.compare(bytes(sk), bytes(range.to)) < 0),
        );
        for (const limit of [1, 2, 3, sks.length, 1000]) {
          expect(await pages("p", { ...range, limit })).toEqual(wanted);
          expect(await pages("p", { ...range, limit, reverse: true })).toEqual([...wanted].reverse());
        }
      });
      it("goes on at its cursor when items before and behind it come and go", async () => {
        const first = await table.query("p", { limit: 3 });
        await table.transact([{ delete: { pk: "p", sk: "a#1" } }, put("0"), put("a#15")]);
        const { cursor } = first;
        expect(cursor).toBeDefined();
        const rest = await table.query("p", cursor === undefined ? {} : { cursor });
        expect(names(rest)).toEqual(["a#10", "a#15", "a#2", ...sks.slice(5)]);
      });
      it("follows cursors through more bytes than one page may have", async () => {
        await table.transact(
          Array.from({ length: 12 }, (_, place) => put(`n${10 + place}`, { body: "x".repeat(300_000) }, "big")),
        );
        expect(await pages("big", {})).toEqual(Array.from({ length: 12 }, (_, place) => `n${10 + place}`));
      });
      it.each([0, 1001, 1.5])("refuses the limit %d", async (limit) => {
        await expect(table.query("p", { limit })).rejects.toMatchObject({ name: "InvalidInput" });
      });
      it.each(["", "not a cursor", "\u{1F600}"])("refuses the cursor '%s'", async (cursor) => {
        await expect(table.query("p", { cursor })).rejects.toMatchObject({ name: "InvalidInput" });
      });
    });
  });
}
