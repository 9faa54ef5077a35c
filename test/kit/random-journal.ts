import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import type { Position } from "#core/journal/position.ts";
import type { Objects } from "#core/ports.ts";
import type { SampleExtent } from "./batches.ts";
import { JournalWriter } from "./journal.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface RandomJournal {
  readonly objects: Objects;
  /** Of the last marker. */
  readonly upTo: Position;
  /** What each volume holds there, by plain replay of the writes. */
  readonly images: ReadonlyMap<number, Buffer>;
}

/** A journal of several sessions and batches with random writes and zeroes, most of them in the first half of each volume. */
export async function randomJournal(
  random: SeededRandom,
  sizes: ReadonlyMap<number, number>,
  options: { readonly batches?: number; readonly objects?: Objects } = {},
): Promise<RandomJournal> {
  const objects = options.objects ?? new MemoryObjects();
  const writer = new JournalWriter(objects);
  const images = new Map([...sizes].map(([volume, sizeBytes]) => [volume, Buffer.alloc(sizeBytes)]));
  const volumes = [...sizes].map(([volume, sizeBytes]) => ({ volume, sizeBytes, sectorBytes: 512 as const }));
  await writer.open({ volumes });
  let upTo: Position = { session: 1, sequence: 0 };
  for (let batch = 0; batch < (options.batches ?? 6); batch += 1) {
    if (batch > 0 && random.chance(0.3)) {
      await writer.seal();
      await writer.open({ volumes, continues: true });
    }
    const extents: SampleExtent[] = [];
    for (let record = 0; record < 12; record += 1) {
      const sequence = writer.sequence + record + 1;
      const volume = [...images.keys()][random.below(images.size)] ?? 0;
      const image = images.get(volume);
      if (image === undefined) continue;
      const sectors = image.length / 512;
      const first = random.below(random.chance(0.8) ? Math.ceil(sectors / 2) : sectors);
      const length = Math.min(1 + random.below(200), sectors - first) * 512;
      if (random.chance(0.2)) {
        extents.push({ volume, sequence, offset: first * 512, zero: length });
        image.fill(0, first * 512, first * 512 + length);
      } else {
        const bytes = Buffer.alloc(length, random.bytes(700));
        extents.push({ volume, sequence, offset: first * 512, bytes });
        bytes.copy(image, first * 512);
      }
    }
    const sequence = writer.sequence + 13;
    await writer.append({ extents, events: [{ kind: "marker", sequence, time: batch, tag: "" }] });
    upTo = { session: writer.session, sequence };
  }
  return { objects, upTo, images };
}
