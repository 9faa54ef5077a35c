import type { CheckpointView } from "#core/api/site-api.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { openOfflineVpg, resolveOffline } from "../../cli/offline.ts";
import { viewOf } from "../../gateway/export/view-export.ts";

/** A volume's bytes as of a checkpoint, read from a site's directory alone, as `view write --offline` reads it. */
export async function offlineImages(
  dataDir: string,
  ref: string,
): Promise<(checkpoint: Pick<CheckpointView, "id">, volume: number) => Promise<Buffer>> {
  const vpg = await openOfflineVpg(dataDir, ref);
  const sizes = new Map(volumesOf(vpg.definition).map((each) => [each.volume, each.sizeBytes]));
  return async ({ id }, volume) => {
    const checkpoint = await resolveOffline(vpg, { kind: "id", id });
    const upTo = vpg.journal.positionOf(checkpoint, volume);
    const image = Buffer.alloc(sizes.get(volume) ?? 0);
    const view = viewOf({ source: vpg.journal, volume, sizeBytes: image.length, sectorBytes: 512, upTo });
    await view.read(0, image);
    return image;
  };
}
