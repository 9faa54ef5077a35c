import { chunkBytes, chunkCount, chunksPerPage } from "#core/blocks/geometry.ts";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import { bytesEqual } from "#core/journal/hash.ts";
import type { Position } from "#core/journal/position.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import { hashBytes } from "#core/sync/limits.ts";
import { areUnreadable, chunkLength, chunksOfPage } from "#core/sync/pieces.ts";
import type { CommandContext } from "../control/handlers.ts";
import type { SiteClient } from "../control/site-client.ts";
import { syncReadAhead } from "../limits.ts";
import type { ChunkHasher, SyncSource, TargetHashes } from "../sync/volume-sync.ts";
import type { SourceDisks } from "./source-disks.ts";
import { targetHashes } from "./target-hashes.ts";

/** A disk that nobody writes, with its number in the journal. */
export interface ClosedDisk {
  readonly journalVolume: number;
  readonly source: Pick<SyncSource, "sizeBytes" | "read">;
}

export interface VerifyParts {
  readonly hashes: TargetHashes;
  readonly hasher: ChunkHasher;
  readonly upTo: Position;
  /** Bytes hashed so far, of how many. */
  readonly progress: (done: number, total: number) => void;
}

/**
 * Compares every chunk of the disks with the image at a position, by hashes. Nothing is mended: what differs is counted.
 * Throws what the disks and the site throw, and `Corrupt` where the site can't read its journal.
 */
export async function verifyDisks(
  disks: readonly ClosedDisk[],
  parts: VerifyParts,
  signal: AbortSignal,
): Promise<{ readonly hashedBytes: number; readonly differingBytes: number }> {
  const total = disks.reduce((sum, { source }) => sum + source.sizeBytes, 0);
  let hashedBytes = 0;
  let differingBytes = 0;
  for (const { journalVolume, source } of disks) {
    const { sizeBytes } = source;
    for (let page = 0; page * chunksPerPage < chunkCount(sizeBytes); page += 1) {
      const wanted = await parts.hashes({ journalVolume, page, upTo: parts.upTo, sizeBytes }, signal);
      const chunks = Array.from({ length: chunksOfPage(sizeBytes, page) }, (_, place) => place);
      if (wanted.length !== chunks.length * hashBytes) throw new InvalidInput("the site's hashes are of another size");
      await concurrently(chunks, syncReadAhead, async (place) => {
        signal.throwIfAborted();
        const chunk = page * chunksPerPage + place;
        const length = chunkLength(sizeBytes, chunk);
        const buffer = new ArrayBuffer(length);
        await source.read(chunk * chunkBytes, new Uint8Array(buffer));
        const { chunk: hash } = await parts.hasher.hash(buffer, length);
        hashedBytes += length;
        const theirs = wanted.subarray(place * hashBytes, (place + 1) * hashBytes);
        if (areUnreadable(theirs)) throw new Corrupt(`the site can't read chunk ${chunk} of volume ${journalVolume}`);
        if (!bytesEqual(hash, theirs)) differingBytes += length;
        parts.progress(hashedBytes, total);
      });
    }
  }
  return { hashedBytes, differingBytes };
}

/** The command: the gateway's own disks by the names that the VPG has for them. Throws `InvalidInput` for one that it doesn't have so. */
export async function verifyVolumes(
  parts: {
    readonly disks: Pick<SourceDisks, "diskOf">;
    readonly site: Pick<SiteClient, "hashes">;
    readonly openHasher: () => ChunkHasher;
  },
  { vpgId, volumes, upTo }: Extract<CommandBody, { readonly kind: "verify-volumes" }>,
  { progress, signal }: CommandContext,
): Promise<{ readonly hashedBytes: number; readonly differingBytes: number }> {
  const disks = volumes.map((volume) => ({ journalVolume: volume.volume, source: parts.disks.diskOf(volume) }));
  const hasher = parts.openHasher();
  try {
    const hashes = targetHashes(parts.site, () => vpgId);
    const told = (done: number, total: number): void => progress(done, total, "bytes");
    return await verifyDisks(disks, { hashes, hasher, upTo, progress: told }, signal);
  } finally {
    await hasher.close();
  }
}
