import { Corrupt, NotFound } from "#core/errors.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { BatchRef } from "#core/recovery/journal-source.ts";
import { assertPlace } from "#core/recovery/layer-index.ts";
import { storedAs } from "#core/recovery/stored-batches.ts";
import type { BatchHeader } from "./batch.ts";
import { BucketJournal } from "./bucket-journal.ts";
import { decodeLayerPart } from "./decode-layer.ts";
import { layerPartKey, manifestKey, manifestPrefix, parseManifestKey } from "./keys.ts";
import type { LayerPartPlace, LayerSection, LayerSource } from "./layer.ts";
import { problemsMax } from "./limits.ts";
import { type Manifest, type ManifestLayer, readManifest } from "./manifest.ts";
import type { JournalProblem } from "./verify-journal.ts";

export interface LayersReport {
  /** Number of the newest manifest; 0 when there is none. */
  readonly manifest: number;
  readonly layers: number;
  /** Batches that layers stand for. */
  readonly batches: number;
  readonly problems: readonly JournalProblem[];
}

/**
 * Checks the newest manifest's layers against the batches that they index: every part's SHA-256, and that each write and zero of
 * valid journal stands there once, as its batch has it. What batches themselves have wrong is `verifyJournal`'s to say.
 */
export async function verifyLayers(objects: Pick<Objects, "get" | "list">, vpgId: string): Promise<LayersReport> {
  const problems: JournalProblem[] = [];
  let newest = 0;
  for await (const { key } of listAll(objects, manifestPrefix(vpgId))) {
    newest = Math.max(newest, parseManifestKey(key)?.manifest ?? 0);
  }
  if (newest === 0) return { manifest: 0, layers: 0, batches: 0, problems };
  const note = (key: string, error: unknown): void => {
    if (!(error instanceof Corrupt || error instanceof NotFound)) throw error;
    if (problems.length < problemsMax) problems.push({ key, error: error.name, message: error.message });
  };
  let manifest: Manifest | undefined;
  try {
    manifest = await readManifest(objects, vpgId, newest);
    const against = new LayersAgainstBatches(objects, await BucketJournal.open(objects, vpgId));
    for (const layer of manifest.layers) {
      await against.check(layer).catch((error: unknown) => note(manifestKey(vpgId, newest), error));
    }
  } catch (error) {
    note(manifestKey(vpgId, newest), error);
  }
  const batches = [...(manifest?.covered.values() ?? [])].reduce((sum, { batches: count }) => sum + count, 0);
  return { manifest: newest, layers: manifest?.layers.length ?? 0, batches, problems };
}

/** Reads a part whole, and checks its length, SHA-256 and place. Throws `Corrupt`, `NotFound`. */
export async function wholePart(
  objects: Pick<Objects, "get">,
  place: LayerPartPlace,
  size: number,
): Promise<readonly LayerSection[]> {
  const key = layerPartKey(place);
  const bytes = await objects.get(key);
  if (bytes.length !== size) throw new Corrupt(`${key} has ${bytes.length} bytes, not ${size}`, { key });
  const { header, sections } = storedAs(key, () => decodeLayerPart(bytes));
  assertPlace(key, header, place);
  return sections;
}

class LayersAgainstBatches {
  readonly #objects: Pick<Objects, "get">;
  readonly #journal: BucketJournal;
  readonly #reader: JournalReader;
  readonly #units = new Map<number, ReadonlyMap<number | string, BatchRef>>();

  constructor(objects: Pick<Objects, "get">, journal: BucketJournal) {
    this.#objects = objects;
    this.#journal = journal;
    this.#reader = new JournalReader(journal);
  }

  /** Throws `Corrupt` at the first thing that is wrong. */
  async check(layer: ManifestLayer): Promise<void> {
    const { layerId, parts } = layer;
    const { vpgId } = this.#journal;
    let extents = 0;
    for (const [part, { bytes: size }] of parts.entries()) {
      const place = { vpgId, layerId, part };
      const key = layerPartKey(place);
      const sections = await wholePart(this.#objects, place, size);
      for (const section of sections) {
        await this.#checkSection(key, layer, section);
        extents += section.extents.count;
      }
    }
    const expected = await this.#extentsOf(layer);
    if (expected === undefined || (extents === layer.extents && extents === expected)) return;
    throw new Corrupt(`layer ${layerId} has ${extents} writes and zeros, its batches ${expected}`, { layerId });
  }

  async #checkSection(
    key: string,
    { ranges }: ManifestLayer,
    { volume, extents, sources }: LayerSection,
  ): Promise<void> {
    for (let index = 0; index < extents.count; index += 1) {
      const source = sources[extents.source[index] ?? 0];
      const range = ranges.find(({ session }) => session === source?.session);
      const within =
        source !== undefined && range !== undefined && source.batch >= range.from && source.batch < range.to;
      if (!within) throw new Corrupt(`${key} names a batch that its layer does not stand for`, { key });
      const header = await this.#header(source);
      if (header === undefined) continue;
      const of = header.extents;
      const record = placeOf(of.sequenceDelta, of.count, extents.sequenceDelta[index] ?? 0);
      const same =
        of.sequenceDelta[record] === extents.sequenceDelta[index] &&
        of.volume[record] === volume &&
        of.kind[record] === extents.kind[index] &&
        of.offset[record] === (extents.sector[index] ?? 0) * 512 &&
        of.length[record] === (extents.sectors[index] ?? 0) * 512 &&
        of.frame[record] === extents.frame[index] &&
        of.frameOffset[record] === extents.frameOffset[index];
      if (same) continue;
      const where = `${source.session}-${source.firstSequence + (extents.sequenceDelta[index] ?? 0)}`;
      throw new Corrupt(`${key} has another record at ${where} than its batch`, { key });
    }
  }

  /** Undefined for a batch that can't be read: behind the journal's damage. */
  async #header(source: LayerSource): Promise<BatchHeader | undefined> {
    const known = this.#unitsOf(source.session).get(source.pack ?? source.batch);
    if (known === undefined) {
      if (this.#journal.damage !== undefined) return undefined;
      throw new Corrupt(`batch ${source.batch} of session ${source.session} is no valid journal`);
    }
    const { firstSequence, lastSequence, size, headerLength, term } = known;
    const right =
      firstSequence === source.firstSequence &&
      lastSequence === source.lastSequence &&
      size === source.size &&
      headerLength === source.headerLength &&
      term === source.term;
    if (!right) throw new Corrupt(`batch ${source.batch} of session ${source.session} is not what a layer says of it`);
    return this.#reader.header(this.#reader.numberOf(known));
  }

  /** The session's valid batches by number, and its packs by id. */
  #unitsOf(session: number): ReadonlyMap<number | string, BatchRef> {
    const known = this.#units.get(session);
    if (known !== undefined) return known;
    const run = this.#journal.sessions.find(({ claim }) => claim.session === session);
    const units = new Map((run?.batches ?? []).map((ref) => [ref.pack ?? ref.batch, ref]));
    this.#units.set(session, units);
    return units;
  }

  async #extentsOf({ ranges }: ManifestLayer): Promise<number | undefined> {
    let count = 0;
    for (const { session, from, to } of ranges) {
      const packs = this.#journal.digest?.packsOf(session) ?? [];
      for (let batch = from; batch < to; batch += 1) {
        const packed = packs.find((pack) => pack.from === batch);
        const ref = this.#unitsOf(session).get(packed?.packId ?? batch);
        if (packed !== undefined) batch = packed.to - 1;
        if (ref === undefined && this.#journal.damage !== undefined) return undefined;
        if (ref === undefined) throw new Corrupt(`batch ${batch} of session ${session} is no valid journal`);
        count += (await this.#reader.header(this.#reader.numberOf(ref))).extents.count;
      }
    }
    return count;
  }
}

/** Where a delta stands in a rising column, or would stand. */
function placeOf(deltas: Uint32Array, count: number, delta: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((deltas[middle] ?? 0) < delta) low = middle + 1;
    else high = middle;
  }
  return low;
}
