import { decodeTime } from "ulid";
import { idSchema } from "#core/ids.ts";
import { parseSyncPageKey, syncArea } from "#core/journal/keys.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import type { Site } from "#core/site.ts";
import { deltaSyncLimits } from "./limits.ts";

/**
 * Removes the hashes and want-lists of delta-syncs that began long ago and have ended: for a site in one process; on AWS a
 * rule of the bucket lets them expire, and no function may delete them. Answers how many objects went.
 */
export async function sweepSyncObjects(site: Site): Promise<number> {
  const before = site.clock.now() - deltaSyncLimits.objectsKeptMs;
  const over = new Map<string, boolean>();
  let removed = 0;
  let after = "";
  for (;;) {
    const listed = await site.objects.list(syncArea, after === "" ? {} : { after });
    for (const { key } of listed) {
      after = key;
      const operationId = parseSyncPageKey(key)?.operationId;
      if (operationId === undefined || decodeTime(operationId.toUpperCase()) > before) continue;
      const known = over.get(operationId) ?? (await isOver(site, operationId));
      over.set(operationId, known);
      if (!known) continue;
      await site.objects.delete(key);
      removed += 1;
    }
    if (listed.length === 0) return removed;
  }
}

async function isOver(site: Site, operationId: string): Promise<boolean> {
  const operation = await findOperation(site, idSchema.parse(operationId));
  return operation === undefined || hasEnded(operation);
}
