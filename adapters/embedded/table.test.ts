import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tableContract } from "../../test/contract/table.ts";
import { SqliteTable } from "./table.ts";

function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "farshore-table-"));
}

tableContract("SqliteTable in memory", async () => {
  const table = new SqliteTable(":memory:");
  return { table, dispose: async () => table.close() };
});

tableContract("SqliteTable in a file", async () => {
  const folder = await makeFolder();
  const table = new SqliteTable(join(folder, "table.sqlite"));
  const other = new SqliteTable(join(folder, "table.sqlite"));
  return {
    table,
    other,
    async dispose() {
      table.close();
      other.close();
      await rm(folder, { recursive: true });
    },
  };
});

describe("SqliteTable", () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await makeFolder();
    path = join(folder, "table.sqlite");
  });
  afterEach(() => rm(folder, { recursive: true }));
  const key = { pk: "p", sk: "s" };

  it("says that it is closed to whoever comes later", async () => {
    const table = new SqliteTable(":memory:");
    table.close();
    const closed = { name: "Transient", message: "The table is closed." };
    await expect(table.get({ pk: "a", sk: "b" })).rejects.toMatchObject(closed);
    await expect(table.query("a")).rejects.toMatchObject(closed);
    await expect(table.transact([{ put: { pk: "a", sk: "b" }, fields: {} }])).rejects.toMatchObject(closed);
  });

  it("finds its items again, and commits what waits when it is closed", async () => {
    const table = new SqliteTable(path);
    const waiting = table.transact([{ put: key, fields: { a: 1 } }]);
    table.close();
    await waiting;
    const again = new SqliteTable(path);
    expect(await again.get(key)).toEqual({ ...key, rev: 1, fields: { a: 1 } });
    again.close();
  });

  it("keeps its file in WAL mode, so that readers never wait for writers", () => {
    const table = new SqliteTable(path);
    const look = new DatabaseSync(path);
    expect(look.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    look.close();
    table.close();
  });

  it.each([
    ["a newer schema", "PRAGMA user_version = 2"],
    ["another application", "PRAGMA application_id = 7"],
  ])("refuses a file of %s by UnsupportedFormat, and leaves it", (_, change) => {
    new SqliteTable(path).close();
    const database = new DatabaseSync(path);
    database.exec(change);
    database.close();
    for (let turn = 0; turn < 2; turn++)
      expect(() => new SqliteTable(path)).toThrow(expect.objectContaining({ name: "UnsupportedFormat" }));
  });

  it("refuses a database that is someone else's, and one that is none", async () => {
    const database = new DatabaseSync(path);
    database.exec("CREATE TABLE t (x)");
    database.close();
    expect(() => new SqliteTable(path)).toThrow(expect.objectContaining({ name: "UnsupportedFormat" }));
    await writeFile(join(folder, "text"), "not a database, only some text".repeat(100));
    expect(() => new SqliteTable(join(folder, "text"))).toThrow(expect.objectContaining({ name: "Corrupt" }));
    expect(() => new SqliteTable(join(folder, "no/such/folder"))).toThrow(
      expect.objectContaining({ name: "Transient" }),
    );
  });

  it("leaves no read open behind a page, which would keep the log from being folded in", async () => {
    const table = new SqliteTable(path);
    await table.transact(["a", "b", "c"].map((sk) => ({ put: { pk: "p", sk }, fields: {} })));
    await table.query("p", { limit: 1 });
    const look = new DatabaseSync(path);
    expect(look.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()).toMatchObject({ busy: 0, log: 0 });
    look.close();
    table.close();
  });

  it("answers nobody when the commit they share fails, not even with a refusal", async () => {
    const table = new SqliteTable(path);
    await table.transact([{ put: key, fields: {} }]);
    const intruder = new DatabaseSync(path);
    intruder.exec(`CREATE TRIGGER fail BEFORE INSERT ON item WHEN NEW.sk = 'bad'
      BEGIN SELECT RAISE(ROLLBACK, 'the disk is gone'); END`);
    intruder.close();
    const answers = await Promise.allSettled([
      table.transact([{ put: { pk: "p", sk: "good" }, fields: {} }]),
      table.transact([{ put: key, fields: {}, if: { absent: true } }]),
      table.transact([{ put: { pk: "p", sk: "bad" }, fields: {} }]),
    ]);
    for (const answer of answers) expect(answer).toMatchObject({ status: "rejected", reason: { name: "Transient" } });
    expect((await table.query("p")).items.map(({ sk }) => sk)).toEqual(["s"]);
    await table.transact([{ put: { pk: "p", sk: "good" }, fields: {} }]);
    table.close();
  });

  it("seeks to its bounds in both directions instead of walking there", async () => {
    const table = new SqliteTable(path);
    table.close();
    const look = new DatabaseSync(path);
    const plan = look.prepare(
      "EXPLAIN QUERY PLAN SELECT sk FROM item WHERE pk = ? AND sk >= ? AND sk < ? ORDER BY sk DESC",
    );
    expect(plan.all("p", "a", new Uint8Array(0)).map((row) => row["detail"])).toEqual([
      "SEARCH item USING PRIMARY KEY (pk=? AND sk>? AND sk<?)",
    ]);
    look.close();
  });
});
