import type { HashesRequest } from "#core/api/gateway-api.ts";
import { type FarshoreError, InvalidInput } from "#core/errors.ts";
import type { Site } from "#core/site.ts";
import { chunkHashes } from "#core/sync/chunk-hashes.ts";
import { volumesOf } from "./definition.ts";
import { journalReader } from "./table-journal.ts";
import type { VpgRecord } from "./vpg-record.ts";

/**
 * Hashes of what this site holds of a page, for a sync to compare with (R14): 32 bytes a chunk, or 16 a block. `pause` is
 * called between pieces of work, so that a whole page doesn't hold up everybody else. What can't be read is in the answer, as
 * `chunkHashes` says, and in the log. Throws `InvalidInput`.
 */
export function imageHashes(
  site: Site,
  vpg: VpgRecord,
  ask: HashesRequest,
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const { volume, page, upTo, blocksOf } = ask;
  const found = volumesOf(vpg.definition).find((entry) => entry.volume === volume);
  const sizeBytes = ask.sizeBytes ?? found?.sizeBytes;
  if (sizeBytes === undefined) {
    throw new InvalidInput(`${vpg.definition.name} has no volume ${volume}`, { field: "volume", volume });
  }
  const reader = journalReader(site, vpg.vpgId);
  const damaged = toldDamage(site, vpg, volume, page);
  const place = { volume, sizeBytes, page, upTo, blocksOf };
  return chunkHashes(reader, { ...place, pause, keeps: "page-by-page", damaged, hasher: site.hasher });
}

/** Says in the log what the hashes of a page had to do without. */
export function toldDamage(
  site: Pick<Site, "log">,
  { vpgId }: Pick<VpgRecord, "vpgId">,
  volume: number,
  page: number,
): (error: FarshoreError) => void {
  return (error) => site.log.error("journal-not-read", { vpgId, volume, page, error });
}
