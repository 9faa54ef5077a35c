import type { DatabaseSync, StatementSync } from "node:sqlite";
import { Corrupt, FarshoreError, Transient } from "#core/errors.ts";
import type { Table, TableAction, TableFields, TableItem, TableKey } from "#core/ports.ts";
import {
  assertCondition,
  assertKeyPart,
  assertTableKey,
  compareSortKeys,
  decodeCursor,
  encodeActions,
  encodeCursor,
  keyOfAction,
  partitionKeyBytesMax,
  queryLimit,
  sortKeyBytesMax,
} from "#core/table-rules.ts";
import { queryPageBytesMax } from "./limits.ts";
import { openDatabase, sqliteTrouble } from "./sqlite.ts";

/** An action with its fields encoded once, before anything waits for it. */
interface Step {
  readonly action: TableAction;
  readonly json: string;
}

interface Job {
  readonly steps: readonly Step[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Items in one SQLite table, sorted by the bytes of (pk, sk). WAL with synchronous=FULL: a transaction is on the disk
 * when `transact` resolves (R10). Transactions that are asked for in one turn of the event loop share one commit, each all
 * or nothing by itself, because the fsync costs more than all the rest. Several processes may have the file open.
 */
export class SqliteTable implements Table {
  readonly #database: DatabaseSync;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;
  readonly #remove: StatementSync;
  readonly #forward: StatementSync;
  readonly #backward: StatementSync;
  #jobs: Job[] = [];
  #scheduled = false;

  /** Opens or makes the file at `path`, or a table of its own for `:memory:`. `UnsupportedFormat` for a file that isn't this schema. */
  constructor(path: string) {
    this.#database = openDatabase(path);
    this.#select = this.#database.prepare("SELECT rev, fields FROM item WHERE pk = ? AND sk = ?");
    this.#upsert = this.#database.prepare(
      "INSERT INTO item (pk, sk, rev, fields) VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET rev = rev + 1, fields = excluded.fields",
    );
    this.#remove = this.#database.prepare("DELETE FROM item WHERE pk = ? AND sk = ?");
    // One lower and one upper bound: SQLite seeks by one of each, and would walk past what a second one excludes.
    const page = "SELECT sk, rev, fields FROM item WHERE pk = ? AND sk >= ? AND sk < ?";
    this.#forward = this.#database.prepare(`${page} ORDER BY sk`);
    this.#backward = this.#database.prepare(`${page} ORDER BY sk DESC`);
  }

  async get(key: TableKey): Promise<TableItem | undefined> {
    assertTableKey(key);
    return this.#attempt(() => this.#read(key));
  }

  async query(
    pk: string,
    options: {
      readonly from?: string;
      readonly to?: string;
      readonly reverse?: boolean;
      readonly limit?: number;
      readonly cursor?: string;
    } = {},
  ): Promise<{ readonly items: readonly TableItem[]; readonly cursor?: string }> {
    assertKeyPart("pk", pk, partitionKeyBytesMax);
    const limit = queryLimit(options.limit);
    const { from = "", to, reverse = false } = options;
    if (from !== "") assertKeyPart("from", from, sortKeyBytesMax);
    if (to !== undefined && to !== "") assertKeyPart("to", to, sortKeyBytesMax);
    const cursor = options.cursor === undefined ? undefined : decodeCursor(options.cursor);
    // Forward, the page starts at the first text after the cursor; NUL, which no key has, is the lowest character.
    const start = reverse || cursor === undefined ? from : later(from, `${cursor}\0`);
    const end = reverse && cursor !== undefined ? earlier(to, cursor) : (to ?? afterAllText);
    return this.#attempt(() => {
      const items: TableItem[] = [];
      let bytes = 0;
      const statement = reverse ? this.#backward : this.#forward;
      for (const row of statement.iterate(pk, start, end)) {
        const last = items.at(-1);
        if (last !== undefined && (items.length >= limit || bytes >= queryPageBytesMax))
          return { items, cursor: encodeCursor(last.sk) };
        const item = itemOf({ pk, sk: textOf(row["sk"]) }, row);
        items.push(item);
        bytes += textOf(row["fields"]).length;
      }
      return { items };
    });
  }

  async transact(actions: readonly TableAction[]): Promise<void> {
    const texts = encodeActions(actions);
    const steps = actions.map((action, index) => ({ action, json: texts[index] ?? "" }));
    if (actions.length === 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#jobs.push({ steps, resolve, reject });
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.#commit());
    }
    return promise;
  }

  /** Commits what is waiting and closes the file. */
  close(): void {
    if (this.#jobs.length > 0) this.#commit();
    this.#database.close();
  }

  #commit(): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#scheduled = false;
    if (jobs.length === 0) return;
    const refused = new Map<Job, unknown>();
    try {
      this.#attempt(() => {
        this.#database.exec("BEGIN IMMEDIATE");
        try {
          for (const job of jobs) {
            const error = this.#apply(job.steps);
            if (error !== undefined) refused.set(job, error);
          }
          this.#database.exec("COMMIT");
        } catch (error) {
          if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
          throw error;
        }
      });
    } catch (error) {
      // A refusal too rests on what was not committed, so nobody gets another answer than this one.
      for (const job of jobs) job.reject(error);
      return;
    }
    for (const job of jobs) {
      const error = refused.get(job);
      if (error === undefined) job.resolve();
      else job.reject(error);
    }
  }

  /** All conditions are judged before the first write, so a refusal has nothing to take back. */
  #apply(steps: readonly Step[]): unknown {
    try {
      for (const [index, { action }] of steps.entries()) {
        const key = keyOfAction(action);
        if (action.if !== undefined) assertCondition(action.if, this.#read(key), index, key);
      }
    } catch (error) {
      if (error instanceof FarshoreError && error.kind === "conflict") return error;
      throw error;
    }
    for (const { action, json } of steps) {
      if ("put" in action) this.#upsert.run(action.put.pk, action.put.sk, json);
      else if ("delete" in action) this.#remove.run(action.delete.pk, action.delete.sk);
    }
    return undefined;
  }

  /** Who comes after the close has outlived its process's site, and asks the next one. */
  #attempt<T>(work: () => T): T {
    if (!this.#database.isOpen) throw new Transient("The table is closed.");
    try {
      return work();
    } catch (error) {
      throw sqliteTrouble(error);
    }
  }

  #read({ pk, sk }: TableKey): TableItem | undefined {
    const row = this.#select.get(pk, sk);
    return row === undefined ? undefined : itemOf({ pk, sk }, row);
  }
}

function itemOf({ pk, sk }: TableKey, row: Readonly<Record<string, unknown>>): TableItem {
  const { rev } = row;
  if (typeof rev !== "number") throw new Corrupt("A table row has no rev.", { pk, sk });
  return { pk, sk, rev, fields: parseFields(textOf(row["fields"])) };
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new Corrupt(`A table row holds ${typeof value} where text must be.`);
  return value;
}

function parseFields(json: string): TableFields {
  const fields: TableFields = JSON.parse(json);
  return fields;
}

/** SQLite sorts every blob after every text. */
const afterAllText = new Uint8Array(0);

function later(left: string, right: string): string {
  return compareSortKeys(left, right) < 0 ? right : left;
}

function earlier(left: string | undefined, right: string): string {
  return left !== undefined && compareSortKeys(left, right) < 0 ? left : right;
}
