import type { Id } from "#core/ids.ts";
import type { Manifest } from "#core/journal/manifest.ts";
import { type RunPlace, rowsOfRun, runStart } from "#core/protection/run-rows.ts";
import { type KnownSession, progressOfSessions } from "#core/protection/session-list.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { BatchRef } from "#core/recovery/journal-source.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import type { ReadBatch } from "./batch-extents.ts";
import { compactionLimits as limits } from "./limits.ts";

/**
 * The next batches that no layer stands for, of valid journal only, as many as one layer takes. A session is begun with when those
 * before it that have a volume of its are in layers to their end: so what layers have of a volume is older than what they don't.
 */
export async function readUncovered(
  site: Site,
  vpgId: Id,
  manifest: Manifest | undefined,
): Promise<readonly ReadBatch[]> {
  const refs: BatchRef[] = [];
  const waiting = new Set<number>();
  for (const known of await progressOfSessions(site, vpgId)) {
    const { session, volumes } = known.state.claim;
    const from = manifest?.covered.get(session) ?? runStart;
    const free = volumes.every(({ volume }) => !waiting.has(volume));
    const to = free ? Math.min(known.progress.batches, from.batches + limits.layerBatchesMax - refs.length) : 0;
    refs.push(...(await refsOf(site, vpgId, known, from, to)));
    if (to < known.progress.batches || !hasEnded(known)) for (const { volume } of volumes) waiting.add(volume);
  }
  if (refs.length < limits.layerBatchesMin) return [];
  return headersOf(new StoredBatches(site.objects, vpgId), refs);
}

/** Nothing will ever be added to its valid run. */
const hasEnded = ({ progress }: KnownSession): boolean => progress.end !== "open" || progress.closed;

async function refsOf(site: Site, vpgId: Id, known: KnownSession, from: RunPlace, to: number): Promise<BatchRef[]> {
  const { session } = known.state.claim;
  const refs: BatchRef[] = [];
  if (from.batches >= to) return refs;
  for await (const { batch, term, firstSequence, lastSequence, bytes: size } of rowsOfRun(site, vpgId, known, from)) {
    refs.push({ term, session, batch, firstSequence, lastSequence, size });
    if (batch + 1 === to) break;
  }
  return refs;
}

/** Headers in their order, as many as one layer's bound on extents allows. */
async function headersOf(stored: StoredBatches, refs: readonly BatchRef[]): Promise<ReadBatch[]> {
  const batches: ReadBatch[] = [];
  let left: number = limits.layerExtentsMax;
  for (let at = 0; at < refs.length; at += limits.readsMax) {
    const some = refs.slice(at, at + limits.readsMax);
    const read = new Array<ReadBatch | undefined>(some.length);
    await concurrently(some, limits.readsMax, async (ref, index) => {
      read[index] = { ref, header: await stored.header(ref) };
    });
    for (const batch of read) {
      if (batch === undefined || batch.header.extents.count > left) return batches;
      left -= batch.header.extents.count;
      batches.push(batch);
    }
  }
  return batches;
}
