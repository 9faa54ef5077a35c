import { Corrupt } from "#core/errors.ts";
import { decodeLayerHeader, decodeSection } from "#core/journal/decode-layer.ts";
import { layerPartKey } from "#core/journal/keys.ts";
import type { LayerHeader, LayerPartPlace, LayerSection, SectionPlace } from "#core/journal/layer.ts";
import { sectionsMax } from "#core/journal/limits.ts";
import type { Manifest, ManifestPart } from "#core/journal/manifest.ts";
import type { Objects } from "#core/ports.ts";
import { layerDirectoryCacheBytes, layerSectionCacheBytes } from "./limits.ts";
import { LoadingCache } from "./loading-cache.ts";
import { storedAs } from "./stored-batches.ts";

/** A part's directory, and for each section the furthest chunk that it or one before it in its volume reaches. */
interface Directory {
  readonly sections: readonly SectionPlace[];
  readonly reach: Float64Array;
}

/**
 * Reads layers by ranges: a part's directory once, then one read for each section that has what is asked for. Parts never
 * change, so one index serves manifest after manifest.
 */
export class LayerIndex {
  readonly #objects: Pick<Objects, "get">;
  readonly #vpgId: string;
  readonly #numbers = new Map<string, number>();
  readonly #directories = new LoadingCache<Directory>(
    layerDirectoryCacheBytes,
    ({ sections }) => 256 + sections.length * 150,
  );
  readonly #sections = new LoadingCache<LayerSection>(
    layerSectionCacheBytes,
    ({ extents, sources }) => 512 + extents.count * 30 + sources.length * 120,
  );

  constructor(objects: Pick<Objects, "get">, vpgId: string) {
    this.#objects = objects;
    this.#vpgId = vpgId;
  }

  /** Sections that may have the chunk. Throws `Corrupt` for stored bytes that fail their checks. */
  async sections(manifest: Manifest | undefined, volume: number, chunk: number): Promise<readonly LayerSection[]> {
    const found = await Promise.all(
      this.#parts(manifest, volume, chunk, chunk).map(async ({ place, part }) => {
        const { sections, reach } = await this.#directory(place, part);
        const numbers = sectionsWithin(sections, reach, volume, chunk, chunk);
        return Promise.all(numbers.map((number) => this.#section(place, sections, number)));
      }),
    );
    return found.flat();
  }

  async touches(
    manifest: Manifest | undefined,
    volume: number,
    firstChunk: number,
    lastChunk: number,
  ): Promise<boolean> {
    for (const { place, part } of this.#parts(manifest, volume, firstChunk, lastChunk)) {
      const { sections, reach } = await this.#directory(place, part);
      if (sectionsWithin(sections, reach, volume, firstChunk, lastChunk).length > 0) return true;
    }
    return false;
  }

  #parts(
    manifest: Manifest | undefined,
    volume: number,
    firstChunk: number,
    lastChunk: number,
  ): { readonly place: LayerPartPlace; readonly part: ManifestPart }[] {
    return (manifest?.layers ?? []).flatMap(({ layerId, parts }) =>
      parts.flatMap((part, number) => {
        const { first, last } = part;
        const before = volume < first.volume || (volume === first.volume && lastChunk < first.chunk);
        const behind = volume > last.volume || (volume === last.volume && firstChunk > last.chunk);
        return before || behind ? [] : [{ place: { vpgId: this.#vpgId, layerId, part: number }, part }];
      }),
    );
  }

  #directory(place: LayerPartPlace, { bytes, headerLength }: ManifestPart): Promise<Directory> {
    return this.#directories.get(this.#numberOf(place), async () => {
      const key = layerPartKey(place);
      const prefix = await this.#objects.get(key, { offset: 0, length: headerLength });
      const header = storedAs(key, () => decodeLayerHeader(prefix, { size: bytes }));
      assertPlace(key, header, place);
      return { sections: header.sections, reach: reachOf(header.sections) };
    });
  }

  #section(place: LayerPartPlace, sections: readonly SectionPlace[], number: number): Promise<LayerSection> {
    return this.#sections.get(this.#numberOf(place) * sectionsMax + number, async () => {
      const section = sections[number];
      if (section === undefined) throw new RangeError(`no section ${number}`);
      const key = layerPartKey(place);
      const bytes = await this.#objects.get(key, { offset: section.start, length: section.length });
      return storedAs(key, () => decodeSection(section, bytes));
    });
  }

  #numberOf(place: LayerPartPlace): number {
    const name = `${place.layerId}/${place.part}`;
    const number = this.#numbers.get(name) ?? this.#numbers.size;
    this.#numbers.set(name, number);
    return number;
  }
}

/** Throws `Corrupt` when the part is not that of its name. */
export function assertPlace(key: string, header: LayerHeader, place: LayerPartPlace): void {
  const right = header.vpgId === place.vpgId && header.layerId === place.layerId && header.part === place.part;
  if (!right) throw new Corrupt(`${key} belongs at another place`, { key });
}

function reachOf(sections: readonly SectionPlace[]): Float64Array {
  const reach = new Float64Array(sections.length);
  for (const [index, { volume, lastChunk }] of sections.entries()) {
    const before = index > 0 && sections[index - 1]?.volume === volume ? (reach[index - 1] ?? 0) : 0;
    reach[index] = Math.max(before, lastChunk);
  }
  return reach;
}

/** Numbers of the volume's sections that reach one of the chunks: a binary search, then back as far as any reaches. */
function sectionsWithin(
  sections: readonly SectionPlace[],
  reach: Float64Array,
  volume: number,
  firstChunk: number,
  lastChunk: number,
): number[] {
  let low = 0;
  let high = sections.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = sections[middle];
    if (at !== undefined && (at.volume < volume || (at.volume === volume && at.firstChunk <= lastChunk)))
      low = middle + 1;
    else high = middle;
  }
  const found: number[] = [];
  for (let number = low - 1; number >= 0; number -= 1) {
    const section = sections[number];
    if (section?.volume !== volume || (reach[number] ?? 0) < firstChunk) break;
    if (section.lastChunk >= firstChunk) found.push(number);
  }
  return found;
}
