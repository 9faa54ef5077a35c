import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InvalidInput } from "#core/errors.ts";

const tokenPattern = /^[\x21-\x7e]{1,200}$/;

const fileOf = (dataDir: string, peer: string): string => join(dataDir, "peer-tokens", `${peer}.token`);

/** What this site shows to a peer that knows callers by tokens; undefined when nobody gave it one. */
export async function readPeerToken(dataDir: string, peer: string): Promise<string | undefined> {
  try {
    return (await readFile(fileOf(dataDir, peer), "utf8")).trim();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps a peer's token in the data directory, for its owner alone; it never goes into the table, the log or the bucket. */
export async function keepPeerToken(dataDir: string, peer: string, text: string): Promise<void> {
  const token = text.trim();
  if (!tokenPattern.test(token)) throw new InvalidInput(`the token of peer ${peer} is empty, or more than one word`);
  const file = fileOf(dataDir, peer);
  await mkdir(join(dataDir, "peer-tokens"), { recursive: true, mode: 0o700 });
  const fresh = `${file}.new`;
  await writeFile(fresh, `${token}\n`, { mode: 0o600 });
  // An older file of that name keeps its own mode.
  await chmod(fresh, 0o600);
  await rename(fresh, file);
}
