import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tableContract } from "../../test/contract/table.ts";
import { SqliteTable } from "./table.ts";

tableContract("SqliteTable in memory", async () => {
  const table = new SqliteTable(":memory:");
  return { table, dispose: async () => table.close() };
});

tableContract("SqliteTable in a file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "farshore-table-"));
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
