/**
 * Writes to a table until it is killed: `node transact-forever.ts FILE NAME`. Each transaction adds an item and raises two
 * counters that must always be equal; a third one is shared with other writers. Prints the count after each commit.
 */
import { writeSync } from "node:fs";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { ConditionFailed } from "#core/errors.ts";

const [path = "", name = ""] = process.argv.slice(2);
const table = new SqliteTable(path);

for (let count = 1; ; ) {
  const shared = await table.get({ pk: "shared", sk: "count" });
  const raised = Number(shared?.fields["count"] ?? 0) + 1;
  try {
    await table.transact([
      {
        put: { pk: "shared", sk: "count" },
        fields: { count: raised },
        if: shared ? { rev: shared.rev } : { absent: true },
      },
      { put: { pk: name, sk: "left" }, fields: { count } },
      { put: { pk: name, sk: "right" }, fields: { count } },
      { put: { pk: name, sk: `item-${count}` }, fields: { count }, if: { absent: true } },
    ]);
  } catch (error) {
    if (error instanceof ConditionFailed) continue;
    throw error;
  }
  writeSync(1, `${count}\n`);
  count++;
}
