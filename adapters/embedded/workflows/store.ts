import { createHash } from "node:crypto";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";
import { z } from "zod";
import { Corrupt, UnsupportedFormat } from "#core/errors.ts";
import type { ExecutionDescription, ExecutionStatus } from "#core/ports.ts";
import { sqliteTrouble } from "../sqlite.ts";
import type { Frame, HistoryEvent } from "./frame.ts";

/** The file's format; another number is refused. */
const FORMAT = 1;

const SCHEMA = `
CREATE TABLE definitions (hash TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE executions (
  id INTEGER PRIMARY KEY,
  machine TEXT NOT NULL,
  name TEXT NOT NULL,
  definition TEXT NOT NULL REFERENCES definitions (hash),
  input TEXT NOT NULL,
  status TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  stopped_at INTEGER,
  output TEXT,
  error TEXT,
  cause TEXT,
  UNIQUE (machine, name)
) STRICT;
CREATE INDEX executions_by_status ON executions (status, machine);
CREATE TABLE frames (execution INTEGER NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (execution, id)) STRICT;
CREATE TABLE events (
  execution INTEGER NOT NULL,
  id INTEGER NOT NULL,
  timestamp INTEGER NOT NULL,
  type TEXT NOT NULL,
  state TEXT,
  details TEXT NOT NULL,
  PRIMARY KEY (execution, id)
) STRICT;
PRAGMA user_version = ${FORMAT};
`;

const executionRow = z.object({
  id: z.number(),
  machine: z.string(),
  name: z.string(),
  definition: z.string(),
  input: z.string(),
  status: z.enum(["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]),
  started_at: z.number(),
  stopped_at: z.number().nullable(),
  output: z.string().nullable(),
  error: z.string().nullable(),
  cause: z.string().nullable(),
});

const eventRow = z.object({
  id: z.number(),
  timestamp: z.number(),
  type: z.string(),
  state: z.string().nullable(),
  details: z.string(),
});

const details = z.record(z.string(), z.union([z.string(), z.number()]));

export type ExecutionRow = z.infer<typeof executionRow>;

/** How an execution ended. */
export interface Ending {
  readonly status: Exclude<ExecutionStatus, "RUNNING">;
  readonly output?: string;
  readonly error?: string;
  readonly cause?: string;
}

/** One durable step of an execution: all of it or nothing. */
export interface Change {
  readonly events: readonly HistoryEvent[];
  readonly put?: readonly Frame[];
  readonly remove?: readonly number[];
  /** Ends the execution and drops all its frames. */
  readonly ending?: Ending & { readonly at: number };
}

type Row = Record<string, SQLOutputValue>;

/**
 * Executions on one SQLite file. Every method is durable when it returns (WAL with synchronous=FULL: one fsync a commit).
 * Throws `Transient` when the file cannot be written or read now, `Corrupt` when it is damaged.
 */
export class WorkflowStore {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Opens or creates the file (`:memory:` for none). Throws `UnsupportedFormat` for a file of another version. */
  constructor(file: string) {
    this.#db = new DatabaseSync(file);
    try {
      this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;");
      if (this.#version() === 0) this.#transaction(() => this.#db.exec(SCHEMA));
      const version = this.#version();
      if (version !== FORMAT) {
        throw new UnsupportedFormat(`${file}: workflows of format ${version}, this version reads ${FORMAT}`, { file });
      }
    } catch (error) {
      this.#db.close();
      throw sqliteTrouble(error);
    }
  }

  #version(): number {
    return Number(this.#db.prepare("PRAGMA user_version").get()?.["user_version"]);
  }

  /** A new RUNNING execution with its root frame and first event. */
  create(
    execution: Pick<ExecutionRow, "machine" | "name" | "input" | "started_at">,
    definition: string,
    root: Frame,
    first: HistoryEvent,
  ): ExecutionRow {
    const hash = createHash("sha256").update(definition).digest("hex");
    return this.#transaction(() => {
      this.#run("INSERT INTO definitions (hash, text) VALUES (?, ?) ON CONFLICT DO NOTHING", hash, definition);
      const { machine, name, input, started_at } = execution;
      const id = this.#run(
        "INSERT INTO executions (machine, name, definition, input, status, started_at) VALUES (?, ?, ?, ?, 'RUNNING', ?)",
        ...[machine, name, hash, input, started_at],
      );
      this.#write(id, { events: [first], put: [root] });
      const ended = { stopped_at: null, output: null, error: null, cause: null };
      return { ...execution, ...ended, id, definition: hash, status: "RUNNING" };
    });
  }

  commit(execution: number, change: Change): void {
    this.#transaction(() => this.#write(execution, change));
  }

  find(machine: string, name: string): ExecutionRow | undefined {
    const row = this.#one("SELECT * FROM executions WHERE machine = ? AND name = ?", machine, name);
    return row === undefined ? undefined : executionRow.parse(row);
  }

  /** Executions of a machine (or all), oldest first. */
  list(machine: string | undefined, status: ExecutionStatus | undefined): readonly ExecutionRow[] {
    // Coalesced, since a numbered placeholder that stands twice can't be bound by place in Node 22.
    return this.#all(
      "SELECT * FROM executions WHERE machine = COALESCE(?, machine) AND status = COALESCE(?, status) ORDER BY id",
      machine ?? null,
      status ?? null,
    ).map((row) => executionRow.parse(row));
  }

  definition(hash: string): string {
    const text = this.#one("SELECT text FROM definitions WHERE hash = ?", hash)?.["text"];
    if (typeof text !== "string") throw new Corrupt(`no definition ${hash}`);
    return text;
  }

  frames(execution: number): readonly Frame[] {
    return this.#all("SELECT body FROM frames WHERE execution = ? ORDER BY id", execution).map((row) =>
      parseFrame(row),
    );
  }

  history(execution: number): readonly HistoryEvent[] {
    const sql = "SELECT id, timestamp, type, state, details FROM events WHERE execution = ? ORDER BY id";
    return this.#all(sql, execution).map((row) => {
      const found = eventRow.parse(row);
      return { ...found, state: found.state ?? undefined, details: details.parse(JSON.parse(found.details)) };
    });
  }

  lastEvent(execution: number): number {
    const last = this.#one("SELECT max(id) AS last FROM events WHERE execution = ?", execution)?.["last"];
    return typeof last === "number" ? last : 0;
  }

  close(): void {
    this.#db.close();
  }

  #write(execution: number, change: Change): void {
    for (const { id, timestamp, type, state, details } of change.events) {
      this.#run(
        "INSERT INTO events (execution, id, timestamp, type, state, details) VALUES (?, ?, ?, ?, ?, ?)",
        ...[execution, id, timestamp, type, state ?? null, JSON.stringify(details)],
      );
    }
    for (const frame of change.put ?? []) {
      this.#run(
        "INSERT INTO frames (execution, id, body) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
        ...[execution, frame.id, JSON.stringify(frame)],
      );
    }
    for (const id of change.remove ?? []) this.#run("DELETE FROM frames WHERE execution = ? AND id = ?", execution, id);
    if (change.ending !== undefined) {
      const { status, at, output, error, cause } = change.ending;
      this.#run(
        "UPDATE executions SET status = ?, stopped_at = ?, output = ?, error = ?, cause = ? WHERE id = ?",
        ...[status, at, output ?? null, error ?? null, cause ?? null, execution],
      );
      this.#run("DELETE FROM frames WHERE execution = ?", execution);
    }
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw sqliteTrouble(error);
    }
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #run(sql: string, ...values: (string | number | null)[]): number {
    return Number(this.#statement(sql).run(...values).lastInsertRowid);
  }

  #one(sql: string, ...values: (string | number | null)[]): Row | undefined {
    return this.#all(sql, ...values)[0];
  }

  #all(sql: string, ...values: (string | number | null)[]): readonly Row[] {
    try {
      return this.#statement(sql).all(...values);
    } catch (error) {
      throw sqliteTrouble(error);
    }
  }
}

/** The program wrote the row itself and SQLite keeps it whole, so its shape is trusted; absent fields come back as undefined. */
function parseFrame(row: Row): Frame {
  const body = row["body"];
  if (typeof body !== "string") throw new Corrupt("a frame without a body");
  return JSON.parse(body);
}

/** The port's view of a row. */
export function describeRow(row: ExecutionRow): ExecutionDescription {
  return {
    name: row.name,
    status: row.status,
    startedAt: row.started_at,
    ...(row.stopped_at === null ? {} : { stoppedAt: row.stopped_at }),
    ...(row.output === null ? {} : { output: row.output }),
    ...(row.error === null ? {} : { error: row.error }),
    ...(row.cause === null ? {} : { cause: row.cause }),
  };
}
