import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import type { Id } from "#core/ids.ts";
import { decodeLayerHeader, decodeSection } from "#core/journal/decode-layer.ts";
import { layerPartKey } from "#core/journal/keys.ts";
import type { LayerExtents, LayerSection, LayerSource, SectionPlace } from "#core/journal/layer.ts";
import type { ManifestLayer } from "#core/journal/manifest.ts";
import type { Objects } from "#core/ports.ts";
import { assertPlace } from "#core/recovery/layer-index.ts";
import { storedAs } from "#core/recovery/stored-batches.ts";
import type { LayerWriter } from "./layer-writer.ts";
import { compactionLimits as limits } from "./limits.ts";
import { SectionBuilder, SourceTable } from "./section-builder.ts";

export interface MergeOptions {
  /** Packs may be among what layers name. */
  readonly packed: boolean;
  /** Of what is left out, since a pack stands for it. */
  readonly drops?: (source: LayerSource) => boolean;
  /** Sections beside the layers', by volume and first chunk. */
  readonly more?: readonly LayerSection[];
}

async function* added(sections: readonly LayerSection[]): AsyncGenerator<LayerSection> {
  yield* sections;
}

/**
 * Writes layers as one: each is read front to back, and the extent that comes first by place is taken next. One section of each
 * is held at a time, beside the table of batches.
 */
export async function mergeLayers(
  objects: Objects,
  vpgId: Id,
  layers: readonly ManifestLayer[],
  writer: LayerWriter,
  { packed, drops = () => false, more = [] }: MergeOptions,
): Promise<void> {
  const sources = new SourceTable();
  const cursors: LayerCursor[] = [];
  const streams = layers.map((layer) => new LayerCursor(sectionsOf(objects, vpgId, layer), sources, drops));
  for (const cursor of [...streams, new LayerCursor(added(more), sources, () => false)]) {
    if (await cursor.load()) cursors.push(cursor);
  }
  const builder = new SectionBuilder(sources, packed);
  while (cursors.length > 0) {
    const next = cursors.reduce((first, cursor) => (cursor.isBefore(first) ? cursor : first));
    const whole = next.moveInto(builder);
    if (whole !== undefined) await writer.add(whole);
    if (next.isAtEnd && !(await next.load())) cursors.splice(cursors.indexOf(next), 1);
  }
  const last = builder.flush();
  if (last !== undefined) await writer.add(last);
  await writer.flush();
}

/** The sections of a layer in their order. Throws `Corrupt` for stored bytes that fail their checks. */
export async function* sectionsOf(
  objects: Pick<Objects, "get">,
  vpgId: string,
  { layerId, parts }: ManifestLayer,
): AsyncGenerator<LayerSection> {
  for (const [part, { bytes, headerLength }] of parts.entries()) {
    const place = { vpgId, layerId, part };
    const key = layerPartKey(place);
    const prefix = await objects.get(key, { offset: 0, length: headerLength });
    const header = storedAs(key, () => decodeLayerHeader(prefix, { size: bytes }));
    assertPlace(key, header, place);
    for (const run of runsOf(header.sections)) {
      const [{ start }] = run;
      const end = run.reduce((most, section) => Math.max(most, section.start + section.length), start);
      const stored = await objects.get(key, { offset: start, length: end - start });
      for (const section of run) {
        const bytes = stored.subarray(section.start - start, section.start - start + section.length);
        yield storedAs(key, () => decodeSection(section, bytes));
      }
    }
  }
}

/** Sections that are read by one request: neighbours, up to `sectionReadBytes`. */
function* runsOf(sections: readonly SectionPlace[]): Generator<readonly [SectionPlace, ...SectionPlace[]]> {
  let run: [SectionPlace, ...SectionPlace[]] | undefined;
  for (const section of sections) {
    if (run !== undefined && section.start + section.length - run[0].start <= limits.sectionReadBytes)
      run.push(section);
    else {
      if (run !== undefined) yield run;
      run = [section];
    }
  }
  if (run !== undefined) yield run;
}

/** Goes through a layer's extents by volume and first chunk. */
export class LayerCursor {
  readonly #sections: AsyncGenerator<LayerSection>;
  readonly #table: SourceTable;
  readonly #drops: (source: LayerSource) => boolean;
  #section: LayerSection | undefined;
  #order: readonly number[] = [];
  #sources: readonly number[] = [];
  #dropped: readonly boolean[] = [];
  #at = 0;
  #volume = 0;
  #chunk = 0;

  constructor(sections: AsyncGenerator<LayerSection>, table: SourceTable, drops: (source: LayerSource) => boolean) {
    this.#sections = sections;
    this.#table = table;
    this.#drops = drops;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#order.length;
  }

  isBefore(other: LayerCursor): boolean {
    return this.#volume < other.#volume || (this.#volume === other.#volume && this.#chunk < other.#chunk);
  }

  /** Goes on to the next section; false when there is none. */
  async load(): Promise<boolean> {
    const next = await this.#sections.next();
    if (next.done === true) return false;
    const section = next.value;
    const { sector, count } = section.extents;
    this.#section = section;
    this.#order = Array.from({ length: count }, (_, index) => index).sort(
      (left, right) => chunkOfSector(sector[left]) - chunkOfSector(sector[right]),
    );
    this.#dropped = section.sources.map(this.#drops);
    this.#sources = section.sources.map((source, index) => (this.#dropped[index] ? 0 : this.#table.numberOf(source)));
    this.#at = 0;
    this.#volume = section.volume;
    this.#look();
    return true;
  }

  /** Where it stands; undefined at the end of what is loaded. */
  get place(): { readonly volume: number; readonly chunk: number } | undefined {
    return this.isAtEnd ? undefined : { volume: this.#volume, chunk: this.#chunk };
  }

  /** The extent that it stands at, by the number of its source in the table; goes on. */
  take(): { readonly extents: LayerExtents; readonly index: number; readonly source: number } {
    const extents = this.#section?.extents;
    const index = this.#order[this.#at];
    if (extents === undefined || index === undefined) throw new RangeError("nothing is loaded");
    this.#at += 1;
    this.#look();
    return { extents, index, source: this.#sources[extents.source[index] ?? 0] ?? 0 };
  }

  moveInto(builder: SectionBuilder): ReturnType<SectionBuilder["add"]> {
    const section = this.#section;
    const index = this.#order[this.#at];
    if (section === undefined || index === undefined) throw new RangeError("nothing is loaded");
    const of = section.extents.source[index] ?? 0;
    const kept = this.#dropped[of] !== true;
    const whole = kept ? builder.add(section.volume, section.extents, index, this.#sources[of] ?? 0) : undefined;
    this.#at += 1;
    this.#look();
    return whole;
  }

  #look(): void {
    this.#chunk = chunkOfSector(this.#section?.extents.sector[this.#order[this.#at] ?? 0]);
  }
}

const chunkOfSector = (sector = 0): number => Math.floor(sector / sectorsPerChunk);
