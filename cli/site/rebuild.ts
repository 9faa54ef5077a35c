import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { acquireLock } from "#adapters/embedded/process-lock.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { InvalidInput, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Objects } from "#core/ports.ts";
import { readIdentity } from "#core/protection/identity.ts";
import { type BareSite, type RebuiltSite, rebuildTable } from "#core/protection/rebuild.ts";
import { markTable } from "#core/protection/table-layout.ts";
import { rebuildOperations } from "#core/recovery/rebuild-operations.ts";

export interface RebuiltSiteTable extends RebuiltSite {
  readonly siteId: Id;
  readonly operations: number;
}

/**
 * Makes a data directory's table again from its bucket alone. The old table stays until the new one is whole. Throws
 * `DirectoryInUse` while a site serves the directory, `InvalidInput` when it isn't a site's, `Corrupt` naming the object
 * that can't be read.
 */
export async function rebuildSite({ dataDir }: { readonly dataDir: string }): Promise<RebuiltSiteTable> {
  const lock = acquireLock(dataDir, "site rebuild");
  try {
    const objects = await FileObjects.open(join(dataDir, "objects"), { readOnly: true });
    const { siteId } = await identityOf(objects, join(dataDir, "objects"));
    const file = join(dataDir, "table.sqlite");
    const fresh = `${file}.rebuilding`;
    await removeDatabase(fresh);
    const rebuilt = await fill(siteId, objects, fresh);
    // A write-ahead log of the old table must not be taken for one of the new.
    await Promise.all([rm(`${file}-wal`, { force: true }), rm(`${file}-shm`, { force: true })]);
    await rename(fresh, file);
    await syncFolder(dataDir);
    return rebuilt;
  } finally {
    lock.release();
  }
}

async function fill(siteId: Id, objects: FileObjects, file: string): Promise<RebuiltSiteTable> {
  const table = new SqliteTable(file);
  try {
    return await rebuildAll({ siteId, objects, table, clock: new SystemClock() });
  } finally {
    table.close();
  }
}

/** All that an empty table can be given from the bucket. Until it is whole, no site opens on it. */
export async function rebuildAll(site: BareSite): Promise<RebuiltSiteTable> {
  const rebuilt = { ...(await rebuildTable(site)), operations: await rebuildOperations(site) };
  await markTable(site.table);
  return { siteId: site.siteId, ...rebuilt };
}

/** Whose bucket this is; `place` is where, for people. Throws `InvalidInput` when it is no site's. */
export async function identityOf(objects: Objects, place: string): ReturnType<typeof readIdentity> {
  try {
    return await readIdentity(objects);
  } catch (error) {
    if (!(error instanceof NotFound)) throw error;
    throw new InvalidInput(`${place} is no site's: it holds no site.json`, {}, { cause: error });
  }
}

async function removeDatabase(file: string): Promise<void> {
  await Promise.all(["", "-wal", "-shm"].map((suffix) => rm(`${file}${suffix}`, { force: true })));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
