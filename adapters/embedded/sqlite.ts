import { DatabaseSync } from "node:sqlite";
import { Corrupt, FarshoreError, Transient, UnsupportedFormat } from "#core/errors.ts";
import { errorCode } from "./file-errors.ts";
import { tableBusyMs } from "./limits.ts";

/** SQLite's `application_id` of a table file: "FSHT". */
const applicationId = 0x46534854;
/** SQLite's `user_version`: the schema below. A higher one was written by a newer Farshore. */
const schemaVersion = 1;
const schema = `
  CREATE TABLE item (
    pk TEXT NOT NULL,
    sk TEXT NOT NULL,
    rev INTEGER NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (pk, sk)
  ) STRICT, WITHOUT ROWID;
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};`;

/** Opens a table file, makes its schema if it is new; refuses what isn't a table of this version by `UnsupportedFormat`. */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: tableBusyMs });
    // In this order: the journal mode stays with the file, the other one must be set in each connection.
    if (path !== ":memory:") database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = FULL");
    // Several processes may come first; one of them makes the schema, the others find it.
    database.exec("BEGIN IMMEDIATE");
    if (pragma(database, "user_version") === 0 && isEmpty(database)) database.exec(schema);
    const version = pragma(database, "user_version");
    const known = pragma(database, "application_id") === applicationId && version === schemaVersion;
    database.exec("COMMIT");
    if (!known)
      throw new UnsupportedFormat(
        `${path} is not a Farshore table of schema ${schemaVersion} (its schema is ${version}): use the version of Farshore that wrote it.`,
        { path, version },
      );
    return database;
  } catch (error) {
    database?.close();
    throw sqliteTrouble(error);
  }
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}

function isEmpty(database: DatabaseSync): boolean {
  return database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
}

/** Result codes of SQLite (sqlite.org/rescode.html) that mean the file itself is bad. */
const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;

/** An error of SQLite as the ports speak: `Corrupt` for a bad file, `Transient` for the rest (busy, full, I/O). */
export function sqliteTrouble(error: unknown): unknown {
  if (error instanceof FarshoreError || errorCode(error) !== "ERR_SQLITE_ERROR") return error;
  const result = error instanceof Error && "errcode" in error ? Number(error.errcode) : -1;
  const message = `The SQLite file: ${error instanceof Error ? error.message : String(error)}.`;
  const bad = (result & 0xff) === sqliteCorrupt || (result & 0xff) === sqliteNotADatabase;
  return new (bad ? Corrupt : Transient)(message, { code: result }, { cause: error });
}
