import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NotFound } from "#core/errors.ts";
import type { Objects } from "#core/ports.ts";

export interface ObjectsUnderTest {
  readonly objects: Objects;
  /** Another client of the same bucket, where there can be one; by default the same. */
  readonly other?: Objects;
  /** Keys are mere names, as in S3: one may be a folder of another. */
  readonly flat?: boolean;
  dispose?(): Promise<void>;
}

/** What every adapter of the `Objects` port must do; `make` gives an empty bucket. */
export function objectsContract(name: string, make: () => Promise<ObjectsUnderTest>): void {
  describe(`${name} keeps the contract of Objects`, () => {
    let tested: ObjectsUnderTest;
    let objects: Objects;
    let other: Objects;
    beforeEach(async () => {
      tested = await make();
      objects = tested.objects;
      other = tested.other ?? tested.objects;
    });
    afterEach(() => tested.dispose?.());

    describe("put and get", () => {
      it("gives back the same bytes, to another client too", async () => {
        expect(await objects.put("a/b", bytes("hello"))).toBe("created");
        expect(text(await other.get("a/b"))).toBe("hello");
        expect(await other.head("a/b")).toEqual({ key: "a/b", size: 5 });
      });
      it("holds an empty object and one of 5 MiB", async () => {
        const big = new Uint8Array(5 << 20).map((_, place) => place * 31);
        await objects.put("empty", new Uint8Array(0));
        await objects.put("big", big);
        expect(await objects.get("empty")).toHaveLength(0);
        expect(Buffer.compare(await objects.get("big"), big)).toBe(0);
      });
      it("replaces without ifAbsent, and shows another client only whole objects meanwhile", async () => {
        await objects.put("k", new Uint8Array(100_000).fill(0));
        const writer = (async () => {
          for (let fill = 1; fill <= 20; fill++) await objects.put("k", new Uint8Array(100_000 + fill).fill(fill));
        })();
        for (let turn = 0; turn < 40; turn++) {
          const seen = await other.get("k");
          const fill = seen[0] ?? -1;
          expect(seen).toHaveLength(100_000 + fill);
          expect(seen.every((byte) => byte === fill)).toBe(true);
        }
        await writer;
        expect((await other.head("k"))?.size).toBe(100_020);
      });
      it("keeps what was put, whatever the caller does to its buffers later", async () => {
        const body = bytes("before");
        await objects.put("k", body);
        body.fill(0);
        (await objects.get("k")).fill(0);
        expect(text(await objects.get("k"))).toBe("before");
      });
      it("throws NotFound for what is absent, a folder, or below an object", async () => {
        await objects.put("a/b", bytes("x"));
        for (const key of ["none", "a", "a/b/c", "a/bb"]) {
          await expect(objects.get(key), key).rejects.toThrow(NotFound);
          expect(await objects.head(key), key).toBeUndefined();
        }
      });
    });

    describe("put ifAbsent", () => {
      it("creates once, and leaves what is there", async () => {
        expect(await objects.put("k", bytes("first"), { ifAbsent: true })).toBe("created");
        expect(await other.put("k", bytes("second"), { ifAbsent: true })).toBe("exists");
        expect(text(await objects.get("k"))).toBe("first");
      });
      it("lets exactly one of many racing writers win, and all see the winner's bytes", async () => {
        for (let round = 0; round < 12; round++) {
          const key = `race/${round}`;
          const answers = await Promise.all(
            Array.from({ length: 16 }, (_, writer) =>
              (writer % 2 === 0 ? objects : other).put(key, new Uint8Array(3000).fill(writer), { ifAbsent: true }),
            ),
          );
          expect(answers.filter((answer) => answer === "created")).toHaveLength(1);
          const body = await other.get(key);
          expect(body).toEqual(new Uint8Array(3000).fill(answers.indexOf("created")));
        }
      });
      it("creates again after a delete", async () => {
        await objects.put("k", bytes("1"), { ifAbsent: true });
        await objects.delete("k");
        expect(await other.put("k", bytes("2"), { ifAbsent: true })).toBe("created");
      });
    });

    describe("ranges", () => {
      beforeEach(() => objects.put("k", bytes("0123456789")));
      it.each([
        { offset: 0, length: 10, expected: "0123456789" },
        { offset: 3, length: 4, expected: "3456" },
        { offset: 8, length: 100, expected: "89" },
        { offset: 10, length: 1, expected: "" },
        { offset: 99, length: 1, expected: "" },
        { offset: 4, length: 0, expected: "" },
      ])("cuts [$offset, +$length) to the object: '$expected'", async ({ offset, length, expected }) => {
        expect(text(await objects.get("k", { offset, length }))).toBe(expected);
      });
      it.each([
        { offset: -1, length: 1 },
        { offset: 0, length: -1 },
        { offset: 0.5, length: 1 },
        { offset: 0, length: Number.NaN },
        { offset: 2 ** 60, length: 1 },
      ])("refuses [$offset, +$length)", async (range) => {
        await expect(objects.get("k", range)).rejects.toMatchObject({ name: "InvalidInput" });
      });
    });

    describe("list", () => {
      const keys = ["a-b", "a.b", "a/a/x", "a/a-x", "a/b", "a0", "b/0001", "b/0002", "b/0003", "b/c/d/e", "b0", "z"];
      beforeEach(async () => {
        for (const [place, key] of keys.entries()) await objects.put(key, new Uint8Array(place));
      });
      const sorted = [...keys].sort();

      it("gives keys and sizes in byte order across folders", async () => {
        const found = await other.list("");
        expect(found.map(({ key }) => key)).toEqual(sorted);
        expect(found.find(({ key }) => key === "b/0002")?.size).toBe(keys.indexOf("b/0002"));
      });
      it.each(["a", "a/", "a/a", "a/a/", "b/000", "b/c/d/e", "b/c/d/ee", "c", "nothing/at/all", "z/"])(
        "keeps to the prefix '%s'",
        async (prefix) => {
          expect((await objects.list(prefix)).map(({ key }) => key)).toEqual(
            sorted.filter((key) => key.startsWith(prefix)),
          );
        },
      );
      it("goes on after any key, present or not, with any prefix", async () => {
        const places = [...keys, "", "a", "a/", "a/a", "a/a/", "a/zzz", "b/0001x", "b/c", "b/c/", "zz"];
        for (const prefix of ["", "a", "a/", "b/"])
          for (const after of places) {
            const found = (await objects.list(prefix, { after })).map(({ key }) => key);
            const wanted = sorted.filter((key) => key.startsWith(prefix) && key > after);
            expect(found, `prefix '${prefix}' after '${after}'`).toEqual(wanted);
          }
      });
      it("pages through everything without a gap or repetition, at every page size", async () => {
        for (let limit = 1; limit <= keys.length + 1; limit++) {
          const found: string[] = [];
          for (;;) {
            const after = found.at(-1);
            const page = await objects.list("", after === undefined ? { limit } : { limit, after });
            expect(page.length).toBeLessThanOrEqual(limit);
            found.push(...page.map(({ key }) => key));
            if (page.length < limit) break;
          }
          expect(found).toEqual(sorted);
        }
      });
      it("sees each put and delete at once, from another client too", async () => {
        for (let turn = 0; turn < 10; turn++) {
          const key = `n/${turn}`;
          await objects.put(key, bytes("x"));
          expect((await other.list("n/")).map((info) => info.key)).toContain(key);
          if (turn % 2 === 0) await other.delete(key);
          expect((await objects.list("n/")).length).toBe(Math.floor((turn + 1) / 2));
        }
      });
      it.each([0, -1, 1001, 1.5])("refuses the limit %d", async (limit) => {
        await expect(objects.list("", { limit })).rejects.toMatchObject({ name: "InvalidInput" });
      });
    });

    describe("purge", () => {
      it("removes each of the keys, whatever was put or deleted there before, and no other", async () => {
        for (const key of ["a/1", "a/2", "a/3", "a/30", "b/1", "c"]) await objects.put(key, bytes(key));
        await objects.put("a/2", bytes("again"));
        await objects.delete("a/3");
        await objects.purge(["a/2", "a/3", "b/1", "never/was"]);
        expect((await objects.list("")).map(({ key }) => key)).toEqual(["a/1", "a/30", "c"]);
        await objects.purge(["a/2"]);
        expect(await objects.put("a/2", bytes("new"), { ifAbsent: true })).toBe("created");
      });

      it("refuses keys that are not in order, or too many", async () => {
        await expect(objects.purge(["b", "a"])).rejects.toMatchObject({ name: "InvalidInput" });
        const many = Array.from({ length: 1001 }, (_, index) => `k/${String(index).padStart(4, "0")}`);
        await expect(objects.purge(many)).rejects.toMatchObject({ name: "InvalidInput" });
      });
    });

    describe("delete", () => {
      it("removes, and is idempotent", async () => {
        await objects.put("a/b", bytes("x"));
        await objects.delete("a/b");
        await objects.delete("a/b");
        await objects.delete("never/was");
        expect(await other.head("a/b")).toBeUndefined();
        expect(await other.list("")).toEqual([]);
      });
      it("leaves the rest alone, also when the key is a folder or lies under an object", async () => {
        await objects.put("a/b", bytes("x"));
        await objects.delete("a");
        await objects.delete("a/b/c");
        expect(text(await objects.get("a/b"))).toBe("x");
      });
    });

    describe("keys", () => {
      it.each([
        ["empty", ""],
        ["absolute", "/a"],
        ["an empty segment", "a//b"],
        ["a slash at the end", "a/"],
        ["a dot segment", "a/./b"],
        ["a way out", "../a"],
        ["a way out inside", "a/../../b"],
        ["only dots", ".."],
        ["upper case", "A"],
        ["a blank", "a b"],
        ["NUL", "a\0b"],
        ["a backslash", "a\\b"],
        ["percent", "a%2e"],
        ["not ASCII", "ä"],
        ["a line break", "a\n"],
        ["the reserved folder", ".tmp/a"],
        ["a segment of 256 characters", "a".repeat(256)],
        ["513 characters", `${"a/".repeat(256)}b`],
      ])("refuses %s", async (_, key) => {
        const invalid = { name: "InvalidInput" };
        await expect(objects.put(key, bytes("x"))).rejects.toMatchObject(invalid);
        await expect(objects.put(key, bytes("x"), { ifAbsent: true })).rejects.toMatchObject(invalid);
        await expect(objects.get(key)).rejects.toMatchObject(invalid);
        await expect(objects.head(key)).rejects.toMatchObject(invalid);
        await expect(objects.delete(key)).rejects.toMatchObject(invalid);
      });
      it.each(["../", "/", "a//", "a/../", "A", "a\0", ".tmp/"])("refuses to list under '%s'", async (prefix) => {
        await expect(objects.list(prefix)).rejects.toMatchObject({ name: "InvalidInput" });
      });
      it("takes the longest and the oddest that are allowed", async () => {
        const longest = `${"a".repeat(255)}/${"b".repeat(255)}/`;
        const keys = [`${longest}`.slice(0, -1), "...", "a/..b/c.", "-", "_", "0", ".hidden/.x"];
        for (const key of keys) expect(await objects.put(key, bytes(key)), key).toBe("created");
        for (const key of keys) expect(text(await objects.get(key)), key).toBe(key);
        expect((await objects.list("")).map(({ key }) => key)).toEqual([...keys].sort());
      });
      it("refuses a key that is a folder of another, and one below an object, or else holds both", async () => {
        await objects.put("a/b/c", bytes("x"));
        const keys = ["a", "a/b", "a/b/c/d", "a/b/c/d/e"];
        for (const options of [{}, { ifAbsent: true }])
          for (const key of tested.flat === true ? [] : keys)
            await expect(objects.put(key, bytes("y"), options), key).rejects.toMatchObject({ name: "InvalidInput" });
        if (tested.flat === true) for (const key of keys) await objects.put(key, bytes(key));
        const held = tested.flat === true ? ["a/b/c", ...keys].sort() : ["a/b/c"];
        expect((await objects.list("")).map(({ key }) => key)).toEqual(held);
        for (const key of held) expect(text(await objects.get(key)), key).toBe(key === "a/b/c" ? "x" : key);
      });
    });
  });
}

function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function text(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}
