import { NotFound } from "#core/errors.ts";
import type { BatchPlace } from "#core/journal/batch.ts";
import type { JournalObject } from "#core/journal/decode.ts";
import { batchKey } from "#core/journal/keys.ts";
import type { Objects } from "#core/ports.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";

/**
 * What stands at a batch's place: header or seal, and its hash, without the payload; undefined when nothing does.
 * Throws `Corrupt` when it can't be what its name says.
 */
export async function readStored(
  objects: Objects,
  place: BatchPlace,
): Promise<(JournalObject & { readonly hash: Uint8Array }) | undefined> {
  const info = await objects.head(batchKey(place));
  if (info === undefined) return undefined;
  try {
    const { object, hash } = await new StoredBatches(objects, place.vpgId).object({ ...place, size: info.size });
    return { ...object, hash };
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}
