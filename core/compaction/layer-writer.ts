import type { Id } from "#core/ids.ts";
import { type EncodedSection, encodeLayerPart } from "#core/journal/encode-layer.ts";
import { layerPartKey } from "#core/journal/keys.ts";
import type { LayerPartPlace } from "#core/journal/layer.ts";
import { hashBytes } from "#core/journal/layout.ts";
import { sectionsMax } from "#core/journal/limits.ts";
import type { ManifestPart } from "#core/journal/manifest.ts";
import type { Objects } from "#core/ports.ts";
import { compactionLimits as limits } from "./limits.ts";

/** Stores a new layer part by part; only a manifest that names it makes it one. */
export class LayerWriter {
  readonly layerId: Id;
  readonly parts: ManifestPart[] = [];
  extents = 0;
  readonly #objects: Objects;
  readonly #vpgId: Id;
  #open: EncodedSection[] = [];
  #bytes = 0;

  /** `layerId` is new: no other attempt writes under it. */
  constructor(objects: Objects, vpgId: Id, layerId: Id) {
    this.#objects = objects;
    this.#vpgId = vpgId;
    this.layerId = layerId;
  }

  async add(section: EncodedSection): Promise<void> {
    if (this.#bytes + section.length > limits.partBytes || this.#open.length === sectionsMax) await this.flush();
    this.#open.push(section);
    this.#bytes += section.length;
    this.extents += section.extentCount;
  }

  /** Stores what is left as the last part. */
  async flush(): Promise<void> {
    const [first] = this.#open;
    const end = this.#open.at(-1);
    if (first === undefined || end === undefined) return;
    const place = { vpgId: this.#vpgId, layerId: this.layerId, part: this.parts.length };
    const object = encodeLayerPart(place, this.#open);
    await this.#objects.put(layerPartKey(place), object, { ifAbsent: true });
    const ofLast = this.#open.filter(({ volume }) => volume === end.volume);
    this.parts.push({
      bytes: object.length,
      headerLength: object.length - this.#bytes - hashBytes,
      first: { volume: first.volume, chunk: first.firstChunk },
      last: { volume: end.volume, chunk: ofLast.reduce((most, { lastChunk }) => Math.max(most, lastChunk), 0) },
    });
    this.#open = [];
    this.#bytes = 0;
  }

  /** Deletes what this attempt stored: another compactor's manifest came first. */
  discard(): Promise<void> {
    return deleteParts(this.#objects, { vpgId: this.#vpgId, layerId: this.layerId }, this.parts.length);
  }
}

/** Deletes a layer's parts; what is gone already is as good. */
export async function deleteParts(
  objects: Pick<Objects, "delete">,
  layer: Omit<LayerPartPlace, "part">,
  parts: number,
): Promise<void> {
  for (let part = 0; part < parts; part += 1) await objects.delete(layerPartKey({ ...layer, part }));
}
