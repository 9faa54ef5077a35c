import { writeBatchesAsLayer } from "#core/compaction/batch-extents.ts";
import { LayerWriter } from "#core/compaction/layer-writer.ts";
import { mergeLayers } from "#core/compaction/merge-layers.ts";
import { joinedRanges } from "#core/compaction/ranges.ts";
import { SourceTable } from "#core/compaction/section-builder.ts";
import { type Id, newId } from "#core/ids.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { decodeSection } from "#core/journal/decode-layer.ts";
import { hexOf, type Pack } from "#core/journal/digest.ts";
import type { EncodedSection } from "#core/journal/encode-layer.ts";
import { batchHash } from "#core/journal/hash.ts";
import { packKey } from "#core/journal/keys.ts";
import type { ManifestLayer } from "#core/journal/manifest.ts";
import { loadedAhead } from "#core/journal/session-walk.ts";
import type { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import type { BatchRef } from "#core/recovery/journal-source.ts";
import { StoredBatches, storedAs } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import { commitDigest, type Standing } from "./commit-digest.ts";
import { type Instants, instantsOf } from "./instants.ts";
import { retentionLimits as limits } from "./limits.ts";
import { type LiveOptions, liveRecords } from "./live-records.ts";
import { type BuiltPack, PackBuilder, type ReadUnit, type SeenPart } from "./pack-builder.ts";
import { nameOf, SeenBytes, segmentsOf, type Unit, unitsOf } from "./units.ts";

/** What one pass did. */
export interface Packed {
  readonly packs: number;
  /** Batches and packs that they stand for. */
  readonly units: number;
  readonly readBytes: number;
  readonly packedBytes: number;
  /** Another manifest came first: what the pass stored counts for nothing. */
  readonly lost: boolean;
}

const nothing: Packed = { packs: 0, units: 0, readBytes: 0, packedBytes: 0, lost: false };

/**
 * R13's ageing: puts packs in place of batches of which little is seen at any listed instant, or which are small. One manifest
 * commits it whole; who is killed or comes second has changed nothing.
 */
export async function packJournal(site: Site, vpgId: Id, standing: Standing, scan: CheckpointScan): Promise<Packed> {
  const { manifest, digest } = standing;
  const instants = await instantsOf(scan);
  if (manifest === undefined || digest === undefined || instants === undefined) return nothing;
  const live: LiveOptions = { ...instants, objects: site.objects, vpgId, layers: manifest.layers };
  const { chosen, whole } = await choose(site, standing, scan, instants, live);
  const made = chosen.length === 0 ? [] : await makePacks(site, vpgId, scan, instants, live, chosen);
  const done = { packedAt: site.clock.now(), packedThrough: whole ? digest.fields.thinnedThrough : null };
  if (made.length === 0) {
    return { ...nothing, lost: !(await commitDigest(site, vpgId, standing, done)) };
  }
  const writer = new LayerWriter(site.objects, vpgId, newId(site.clock, site.random));
  const replaced = new Set(made.flatMap(({ units }) => units.map(nameOf)));
  const layers = await rewriteLayers(site, vpgId, manifest.layers, made, replaced, writer);
  const packs = [
    ...digest.fields.packs.filter(
      ({ session, from, packId }) => !replaced.has(nameOf({ session, batch: from, pack: packId })),
    ),
    ...made.map(({ pack }) => pack),
  ].sort((one, other) => one.session - other.session || one.from - other.from);
  const gone = layers.merged.map(({ layerId, parts }) => ({
    layerId,
    parts: parts.length,
    replacedAt: site.clock.now(),
  }));
  const change = { layers: layers.next, replaced: [...manifest.replaced, ...gone] };
  const committed = await commitDigest(site, vpgId, standing, { ...done, packs }, change);
  // Packs that nothing names are the collector's to find: nobody else deletes what may be the only copy.
  if (!committed) await writer.discard();
  return {
    packs: made.length,
    units: replaced.size,
    readBytes: made.reduce((sum, { units }) => sum + units.reduce((all, { size }) => all + size, 0), 0),
    packedBytes: made.reduce((sum, { pack }) => sum + pack.bytes, 0),
    lost: !committed,
  };
}

const keyOf = (vpgId: Id, { session, from, packId }: Pack): string => packKey({ vpgId, session, batch: from }, packId);

/** The segments that one run has room for; `whole` when that was all of them. */
async function choose(
  site: Site,
  { manifest, digest }: Standing,
  scan: CheckpointScan,
  { limitOf, cutsOf }: Instants,
  live: LiveOptions,
): Promise<{ readonly chosen: readonly (readonly Unit[])[]; readonly whole: boolean }> {
  const table = new SourceTable();
  const seen = new SeenBytes(table);
  for await (const record of liveRecords(live, table)) seen.add(record);
  const chosen: (readonly Unit[])[] = [];
  let left: number = limits.packBytesMax;
  const crowded = (digest?.fields.packs.length ?? 0) >= limits.digestPacksMax;
  for (const { state, progress } of scan.sessions) {
    const { claim } = state;
    const covered = manifest?.covered.get(claim.session)?.batches ?? 0;
    const end = progress.end === "open" ? progress.batches - limits.openBatches : progress.batches;
    const limit = limitOf(claim.session);
    if (limit === 0) continue;
    const units = await unitsOf(site.objects, claim, digest, Math.min(end, covered), seen);
    const within = units.slice(0, 1 + units.findLastIndex(({ lastSequence }) => (lastSequence ?? Infinity) <= limit));
    for (const segment of segmentsOf(within, cutsOf(claim.session))) {
      if (crowded && segment.every(({ packed }) => packed === undefined)) continue;
      if (chosen.length === limits.packsMax) return { chosen, whole: false };
      const some = firstOf(segment, left);
      if (some.length > 0) chosen.push(some);
      if (some.length < segment.length) return { chosen, whole: false };
      left -= segment.reduce((sum, { size }) => sum + size, 0);
    }
  }
  return { chosen, whole: true };
}

/** As many of a segment's units as may be read: what lies between two kept checkpoints can be more than one run has room for. */
function firstOf(segment: readonly Unit[], bytesMost: number): readonly Unit[] {
  let bytes = 0;
  const end = segment.findIndex(({ size }) => {
    bytes += size;
    return bytes > bytesMost;
  });
  return end < 0 ? segment : segment.slice(0, end);
}

/** A stored pack. Its bytes and those of its units are let go: a run makes more than fits into memory. */
interface MadePack {
  readonly pack: Pack;
  readonly header: BatchHeader;
  readonly units: readonly Unit[];
}

async function makePacks(
  site: Site,
  vpgId: Id,
  scan: CheckpointScan,
  { cutsOf, limitOf }: Instants,
  live: LiveOptions,
  chosen: readonly (readonly Unit[])[],
): Promise<readonly MadePack[]> {
  const parts = await seenParts(live, new Set(chosen.flat().map(nameOf)));
  const made: MadePack[] = [];
  const keep = async (built: BuiltPack | undefined): Promise<void> => {
    if (built === undefined) return;
    const pack = packOf(site, built);
    await site.objects.put(keyOf(vpgId, pack), built.bytes, { ifAbsent: true });
    const decoded = decodeObject(built.bytes);
    if (decoded.kind === "seal") throw new RangeError("a pack is a seal");
    made.push({ pack, header: decoded.header, units: built.units.map(({ unit }) => unit) });
  };
  const stored = new StoredBatches(site.objects, vpgId);
  for (const segment of chosen) {
    const session = segment[0]?.session ?? 0;
    const seenOf = (unit: Unit, sequenceDelta: number) => parts.get(nameOf(unit))?.get(sequenceDelta);
    const builder = new PackBuilder(new Set(cutsOf(session)), seenOf);
    for await (const { item, loaded } of loadedAhead(each(segment), limits.readsMax, (unit) => stored.whole(unit))) {
      const read = await readUnit(stored.keyOf(item), item, await loaded, scan);
      // A batch without writes may end behind the limit: only its header says so.
      if (read.header.lastSequence > limitOf(session)) break;
      await keep(builder.add(read));
    }
    await keep(builder.flush());
  }
  return made;
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function readUnit(key: string, unit: Unit, object: Uint8Array, scan: CheckpointScan): Promise<ReadUnit> {
  const decoded = storedAs(key, () => decodeObject(object));
  if (decoded.kind === "seal") throw new RangeError(`${key} is a seal`);
  const { header } = decoded;
  const last = header.events.at(-1);
  const isMarker = unit.packed === undefined && last?.kind === "marker";
  const checkpoints = isMarker && (await scan.isValid({ session: unit.session, ...last })) ? 1 : 0;
  return {
    ...{ unit, header, object },
    lastHash: unit.packed?.lastHash ?? hexOf(batchHash(object)),
    checkpoints: unit.packed?.checkpoints ?? checkpoints,
  };
}

/** Of the named units: record by record what is seen of it. */
async function seenParts(
  live: LiveOptions,
  names: ReadonlySet<string>,
): Promise<ReadonlyMap<string, ReadonlyMap<number, SeenPart>>> {
  const table = new SourceTable();
  const parts = new Map<string, Map<number, SeenPart>>();
  for await (const { source, sequenceDelta, from, to } of liveRecords(live, table)) {
    const name = nameOf(table.get(source));
    if (from === to || !names.has(name)) continue;
    const known = parts.get(name) ?? new Map<number, SeenPart>();
    parts.set(name, known.set(sequenceDelta, { from, to }));
  }
  return parts;
}

function packOf(site: Site, { bytes, units }: BuiltPack): Pack {
  const [first] = units;
  const last = units.at(-1);
  if (first === undefined || last === undefined) throw new RangeError("a pack of nothing");
  const sum = (of: (read: ReadUnit) => number): number => units.reduce((total, read) => total + of(read), 0);
  return {
    packId: newId(site.clock, site.random),
    session: first.unit.session,
    from: first.unit.batch,
    to: last.unit.to,
    lastSequence: last.header.lastSequence,
    bytes: bytes.length,
    replacedBytes: sum(({ unit }) => unit.packed?.replacedBytes ?? unit.size),
    checkpoints: sum(({ checkpoints }) => checkpoints),
    lastHash: last.lastHash,
    sha256: hexOf(batchHash(bytes)),
    packedAt: site.clock.now(),
  };
}

/** The layers that name what packs stand for, as one that names the packs; the others stay. */
async function rewriteLayers(
  site: Site,
  vpgId: Id,
  layers: readonly ManifestLayer[],
  made: readonly MadePack[],
  replaced: ReadonlySet<string>,
  writer: LayerWriter,
): Promise<{ readonly next: readonly ManifestLayer[]; readonly merged: readonly ManifestLayer[] }> {
  const isTouched = ({ ranges }: ManifestLayer): boolean =>
    ranges.some(({ session, from, to }) =>
      made.some(({ pack }) => pack.session === session && pack.from < to && pack.to > from),
    );
  const merged = layers.filter(isTouched);
  const sections: EncodedSection[] = [];
  await writeBatchesAsLayer(
    made.map(({ pack, header }) => {
      const { session, term, batch, firstSequence, lastSequence } = header;
      const ref: BatchRef = { term, session, batch, firstSequence, lastSequence, size: pack.bytes, pack: pack.packId };
      return { ref, header };
    }),
    { add: async (section) => void sections.push(section), flush: async () => undefined },
  );
  const more = sections.map((section) => decodeSection({ ...section, start: 0 }, section.bytes));
  const drops = (source: Parameters<typeof nameOf>[0]): boolean => replaced.has(nameOf(source));
  await mergeLayers(site.objects, vpgId, merged, writer, { packed: true, drops, more });
  const { layerId, extents, parts } = writer;
  const ranges = joinedRanges(merged.flatMap((layer) => layer.ranges));
  return {
    next: [...layers.filter((layer) => !merged.includes(layer)), { layerId, ranges, extents, parts: [...parts] }],
    merged,
  };
}
