import { concurrently } from "#core/recovery/concurrently.ts";
import type { Site } from "#core/site.ts";
import { retentionLimits as limits } from "./limits.ts";

/** As many keys at a time as `purge` takes. */
const keysAtOnce = 1000;

/** Deletes objects for good, some calls at a time. */
export async function purgeInChunks(site: Pick<Site, "objects">, keys: readonly string[]): Promise<void> {
  const sorted = keys.toSorted();
  const chunks = Array.from({ length: Math.ceil(sorted.length / keysAtOnce) }, (_, at) =>
    sorted.slice(at * keysAtOnce, (at + 1) * keysAtOnce),
  );
  await concurrently(chunks, limits.deletesAtOnce, (some) => site.objects.purge(some));
}
