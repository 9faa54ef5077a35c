import { isDamage } from "#core/journal/damage.ts";
import { parseLayerPartKey, parseManifestKey } from "#core/journal/keys.ts";
import type { LayerSection } from "#core/journal/layer.ts";
import type { Manifest } from "#core/journal/manifest.ts";
import type { Log, Objects } from "#core/ports.ts";
import { LayerIndex } from "./layer-index.ts";

export interface OptionalLayersOptions {
  readonly objects: Pick<Objects, "get">;
  readonly vpgId: string;
  readonly log: Pick<Log, "warn">;
  /** The manifest that the source reads by. */
  readonly current: () => Promise<Manifest | undefined>;
  /** The newest one, read again because a layer of `stale` failed; the source reads by it from then on. */
  readonly reload: (stale: Manifest) => Promise<Manifest | undefined>;
}

/**
 * A source's layers for as long as they are whole. They are only an index of batches: when a layer of the newest manifest or the
 * manifest itself is damaged or gone, the source gives layers up for its lifetime, says so once, and goes on with batches alone.
 */
export class OptionalLayers {
  readonly #options: OptionalLayersOptions;
  readonly #index: LayerIndex;
  #givenUp = false;

  constructor(options: OptionalLayersOptions) {
    this.#options = options;
    this.#index = new LayerIndex(options.objects, options.vpgId);
  }

  /** From then on the source must tell all batches. Never false again. */
  get givenUp(): boolean {
    return this.#givenUp;
  }

  /** None once layers are given up. */
  sections(volume: number, chunk: number): Promise<readonly LayerSection[]> {
    return this.#read((manifest) => this.#index.sections(manifest, volume, chunk), []);
  }

  /** False once layers are given up. */
  touch(volume: number, firstChunk: number, lastChunk: number): Promise<boolean> {
    return this.#read((manifest) => this.#index.touches(manifest, volume, firstChunk, lastChunk), false);
  }

  /** Does what may read a manifest, and does it again when that gave layers up. Throws what has nothing to do with layers. */
  async orWithout<T>(attempt: () => Promise<T>): Promise<T> {
    try {
      return await attempt();
    } catch (error) {
      const object = failedLayerObject(error);
      if (object === undefined) throw error;
      if (!this.#givenUp) {
        this.#givenUp = true;
        this.#options.log.warn("layers-given-up", { vpgId: this.#options.vpgId, object, error });
      }
      return attempt();
    }
  }

  #read<T>(read: (manifest: Manifest | undefined) => Promise<T>, none: T): Promise<T> {
    return this.orWithout(async () => (this.#givenUp ? none : this.#readNewest(read)));
  }

  /** Where a layer was merged and deleted since its manifest was read, the newest manifest has another for it. */
  async #readNewest<T>(read: (manifest: Manifest | undefined) => Promise<T>): Promise<T> {
    let manifest = await this.#options.current();
    for (;;) {
      try {
        return await read(manifest);
      } catch (error) {
        if (manifest === undefined || failedLayerObject(error) === undefined) throw error;
        const newest = await this.#options.reload(manifest);
        if (newest?.manifest === manifest.manifest) throw error;
        manifest = newest;
      }
    }
  }
}

/** The key of the layer's part or manifest that is damaged or gone; undefined when the error is about anything else. */
function failedLayerObject(error: unknown): string | undefined {
  if (!isDamage(error)) return undefined;
  // What isn't JSON of its schema is told by `what`.
  const key = error.details["key"] ?? error.details["what"];
  if (typeof key !== "string") return undefined;
  return parseLayerPartKey(key) === undefined && parseManifestKey(key) === undefined ? undefined : key;
}
