import { access, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createToken } from "#core/protection/tokens.ts";
import type { Caller, Site } from "#core/site.ts";

const maker: Caller = { name: "site-serve", role: "operator", gatewayId: null };

/**
 * The file with the first operator's token, readable by its owner alone. Made when it isn't there; the token that an older
 * file held ends then, so a lost or leaked file is mended by deleting it and starting again.
 */
export async function ensureOperatorToken(site: Site, dataDir: string): Promise<string> {
  const file = join(dataDir, "operator.token");
  if (await exists(file)) return file;
  const { token } = await createToken(site, { name: "operator", role: "operator" }, maker);
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, `${token}\n`, { mode: 0o600, flush: true });
  await rename(temporary, file);
  return file;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
