import { expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { idSchema } from "#core/ids.ts";
import { sessionClaims } from "#core/journal/session-walk.ts";
import { newestManifest } from "#core/protection/manifests.ts";
import { rebuildSession } from "#core/protection/rebuild-session.ts";
import { patterned, vpgId as sampleVpg } from "../../test/kit/batches.ts";
import { JournalWriter } from "../../test/kit/journal.ts";
import { makeSite } from "../../test/kit/site.ts";
import { compactJournal } from "./compact.ts";
import { compactionLimits as limits } from "./limits.ts";

const vpgId = idSchema.parse(sampleVpg);
const volume = (number: number) => [{ volume: number, sizeBytes: 1024 * 1024, sectorBytes: 512 as const }];

it("begins no session while one before it that shares a volume may still grow, and another volume's at once", async () => {
  const objects = new MemoryObjects();
  const writer = new JournalWriter(objects);
  for (const volumes of [volume(0), volume(0), volume(1)]) {
    await writer.open({ volumes });
    for (let batch = 0; batch < limits.layerBatchesMin; batch += 1) {
      const sequence = writer.sequence + 1;
      const extent = { volume: volumes[0]?.volume ?? 0, sequence, offset: 0, bytes: patterned(512, batch) };
      await writer.append({ extents: [extent] });
    }
  }
  const site = makeSite({ objects });
  for await (const claim of sessionClaims(objects, vpgId)) await rebuildSession(site, vpgId, claim, new Map());
  await compactJournal(site, vpgId);
  const covered = (await newestManifest(site, vpgId))?.covered;
  expect([...(covered?.keys() ?? [])]).toEqual([1, 3]);
});
