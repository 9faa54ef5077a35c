import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { type EncodedSection, encodeSection } from "#core/journal/encode-layer.ts";
import { type LayerExtents, type LayerSource, newLayerExtents } from "#core/journal/layer.ts";
import { sectionChunksMax, sectionExtentsMax } from "#core/journal/limits.ts";
import { compactionLimits as limits } from "./limits.ts";

/** The batches that a layer is made of, each once: about 200 bytes a batch. */
export class SourceTable {
  readonly #sources: LayerSource[] = [];
  /** Session to batch, or pack, to number. */
  readonly #numbers = new Map<number, Map<number | string, number>>();

  numberOf(source: LayerSource): number {
    const session = this.#numbers.get(source.session) ?? new Map<number | string, number>();
    this.#numbers.set(source.session, session);
    const name = source.pack ?? source.batch;
    const known = session.get(name);
    if (known !== undefined) return known;
    const number = this.#sources.push(source) - 1;
    session.set(name, number);
    return number;
  }

  get(number: number): LayerSource {
    const source = this.#sources[number];
    if (source === undefined) throw new RangeError(`no source ${number}`);
    return source;
  }
}

/** Cuts extents that come by volume and first chunk into sections, each in order of position. */
export class SectionBuilder {
  readonly #sources: SourceTable;
  readonly #packed: boolean;
  readonly #open = newLayerExtents(sectionExtentsMax);
  #count = 0;
  #volume = 0;
  #firstChunk = 0;
  #newestChunk = 0;
  #lastChunk = 0;

  /** `packed`: packs may be among the sources. */
  constructor(sources: SourceTable, packed: boolean) {
    this.#sources = sources;
    this.#packed = packed;
  }

  /** Takes extent `index` of `from`, whose batch is `source` of the table; returns the section that was whole before it. */
  add(volume: number, from: LayerExtents, index: number, source: number): EncodedSection | undefined {
    const sector = from.sector[index] ?? 0;
    const sectors = from.sectors[index] ?? 0;
    const chunk = Math.floor(sector / sectorsPerChunk);
    const whole = this.#endsBefore(volume, chunk) ? this.flush() : undefined;
    if (this.#count === 0) {
      this.#volume = volume;
      this.#firstChunk = chunk;
      this.#lastChunk = chunk;
    }
    const at = this.#count;
    this.#open.sector[at] = sector;
    this.#open.sectors[at] = sectors;
    this.#open.source[at] = source;
    this.#open.sequenceDelta[at] = from.sequenceDelta[index] ?? 0;
    this.#open.kind[at] = from.kind[index] ?? 0;
    this.#open.frame[at] = from.frame[index] ?? 0;
    this.#open.frameOffset[at] = from.frameOffset[index] ?? 0;
    this.#count += 1;
    this.#newestChunk = chunk;
    this.#lastChunk = Math.max(this.#lastChunk, Math.floor((sector + sectors - 1) / sectorsPerChunk));
    return whole;
  }

  /** What is left as the last section. */
  flush(): EncodedSection | undefined {
    if (this.#count === 0) return undefined;
    const order = this.#byPosition();
    const extents = newLayerExtents(order.length);
    const sources: LayerSource[] = [];
    let before = -1;
    for (const [at, index] of order.entries()) {
      const source = this.#open.source[index] ?? 0;
      if (source !== before) sources.push(this.#sources.get(source));
      before = source;
      extents.source[at] = sources.length - 1;
      extents.sector[at] = this.#open.sector[index] ?? 0;
      extents.sectors[at] = this.#open.sectors[index] ?? 0;
      extents.sequenceDelta[at] = this.#open.sequenceDelta[index] ?? 0;
      extents.kind[at] = this.#open.kind[index] ?? 0;
      extents.frame[at] = this.#open.frame[index] ?? 0;
      extents.frameOffset[at] = this.#open.frameOffset[index] ?? 0;
    }
    this.#count = 0;
    const [volume, firstChunk, lastChunk] = [this.#volume, this.#firstChunk, this.#lastChunk];
    return encodeSection({ volume, firstChunk, lastChunk, extents, sources }, this.#packed);
  }

  #endsBefore(volume: number, chunk: number): boolean {
    if (this.#count === 0) return false;
    if (volume !== this.#volume || this.#count === sectionExtentsMax) return true;
    // A zero of 1 GiB reaches 2049 chunks: what begins here stays within the section's bound too.
    if (chunk - this.#firstChunk >= sectionChunksMax / 2) return true;
    return chunk > this.#newestChunk && this.#count >= limits.sectionExtents;
  }

  #byPosition(): number[] {
    const { source, sequenceDelta } = this.#open;
    return Array.from({ length: this.#count }, (_, index) => index).sort((left, right) => {
      const one = this.#sources.get(source[left] ?? 0);
      const other = this.#sources.get(source[right] ?? 0);
      const byBatch = one.session - other.session || one.batch - other.batch;
      return byBatch || (sequenceDelta[left] ?? 0) - (sequenceDelta[right] ?? 0);
    });
  }
}
