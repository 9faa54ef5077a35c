import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TableItem } from "#core/ports.ts";
import { SqliteTable } from "./table.ts";

const writer = fileURLToPath(new URL("../../test/kit/transact-forever.ts", import.meta.url));

describe("SqliteTable with several processes under SIGKILL", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "farshore-table-kill-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("keeps what was acknowledged, whole transactions only, and loses no update between processes", async () => {
    const path = join(folder, "table.sqlite");
    let total = 0;
    for (let round = 0; round < 5; round++) {
      // All open a new file at once in the first round.
      const names = [0, 1, 2].map((place) => `writer-${round}-${place}`);
      const acknowledged = await Promise.all(names.map((name) => runAndKill(path, name)));
      const table = new SqliteTable(path);
      for (const [place, name] of names.entries()) {
        const items = await allItems(table, name);
        const count = (sk: string) => Number(items.find((item) => item.sk === sk)?.fields["count"] ?? 0);
        expect(count("left")).toBe(count("right"));
        expect(count("left")).toBeGreaterThanOrEqual(acknowledged[place] ?? 0);
        expect(items.filter(({ sk }) => sk.startsWith("item-"))).toHaveLength(count("left"));
        total += count("left");
      }
      expect((await table.get({ pk: "shared", sk: "count" }))?.fields["count"]).toBe(total);
      table.close();
    }
  });
});

/** Kills the writer after a random number of commits; gives the last count that it printed. */
async function runAndKill(path: string, name: string): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [writer, path, name], { stdio: ["ignore", "pipe", "inherit"] });
  if (child.stdout === null) throw new Error("no pipe");
  const enough = randomInt(1, 60);
  child.stdout.on("data", (data: Buffer) => {
    if (
      data
        .toString()
        .split("\n")
        .some((line) => Number(line) >= enough)
    )
      child.kill("SIGKILL");
  });
  const [printed] = await Promise.all([text(child.stdout), once(child, "exit")]);
  return Number(printed.trimEnd().split("\n").at(-1));
}

async function allItems(table: SqliteTable, pk: string): Promise<TableItem[]> {
  const items: TableItem[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await table.query(pk, cursor === undefined ? {} : { cursor });
    items.push(...page.items);
    if (page.cursor === undefined) return items;
    cursor = page.cursor;
  }
}
