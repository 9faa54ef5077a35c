import { Corrupt, FarshoreError, NotFound } from "#core/errors.ts";
import type { BatchPlace } from "#core/journal/batch.ts";
import { decodePrefix, type JournalObject } from "#core/journal/decode.ts";
import { headerLength } from "#core/journal/fixed-header.ts";
import { batchKey } from "#core/journal/keys.ts";
import { hashBytes, headerLengthBytes } from "#core/journal/layout.ts";
import { headerReadBytes } from "#core/journal/limits.ts";
import type { Objects } from "#core/ports.ts";

export type StoredObject = JournalObject & { readonly hash: Uint8Array };

/**
 * What stands at a batch's place: header and hash, without the payload; undefined when nothing does.
 * Throws `Corrupt` when it can't be what its name says.
 */
export async function readStored(objects: Objects, place: BatchPlace): Promise<StoredObject | undefined> {
  const key = batchKey(place);
  const info = await objects.head(key);
  if (info === undefined) return undefined;
  if (info.size < headerLengthBytes + hashBytes) throw new Corrupt(`${key} is cut off`, { key, size: info.size });
  try {
    let prefix = await objects.get(key, { offset: 0, length: headerReadBytes });
    const needed = headerLength(prefix);
    if (needed > prefix.length) prefix = await objects.get(key, { offset: 0, length: needed });
    const object = decodePrefix(prefix, { size: info.size });
    const whole = prefix.length === info.size;
    const hash = whole
      ? prefix.subarray(info.size - hashBytes)
      : await objects.get(key, { offset: info.size - hashBytes, length: hashBytes });
    const { vpgId, term, session, batch } = object.kind === "batch" ? object.header : object.seal;
    if (vpgId !== place.vpgId || term !== place.term || session !== place.session || batch !== place.batch) {
      throw new Corrupt(`${key} holds the object of another place`, { key });
    }
    return { ...object, hash };
  } catch (cause) {
    if (cause instanceof NotFound) return undefined;
    if (cause instanceof FarshoreError && cause.kind !== "invalid") throw cause;
    throw new Corrupt(`${key} doesn't decode: ${cause instanceof Error ? cause.message : cause}`, { key }, { cause });
  }
}
