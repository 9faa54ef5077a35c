import { type Id, newId } from "#core/ids.ts";
import {
  type Manifest,
  type ManifestFields,
  type ManifestLayer,
  manifestFormat,
  manifestOf,
} from "#core/journal/manifest.ts";
import { commitManifest, manifestToFollow, newestManifest } from "#core/protection/manifests.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { writeBatchesAsLayer } from "./batch-extents.ts";
import { deleteParts, LayerWriter } from "./layer-writer.ts";
import { compactionLimits as limits } from "./limits.ts";
import { mergeLayers } from "./merge-layers.ts";
import { joinedRanges } from "./ranges.ts";
import { readUncovered } from "./uncovered.ts";

/** What one run did for a VPG. */
export interface Compacted {
  readonly manifest: number;
  readonly layers: number;
  /** Batches that entered a layer in this run. */
  readonly batches: number;
  /** Layers that were merged away in this run. */
  readonly merged: number;
  /** A manifest of its number was there before one of this run's: what that step had made is deleted again. */
  readonly lost: boolean;
}

/**
 * R13, for every VPG of the site: merges old batches' indexes into layers and layers into larger ones. Bounded by time and by steps,
 * and each step is committed by its manifest alone: whoever is killed, or comes second, changed nothing. One VPG's trouble doesn't
 * keep the others waiting: it is thrown at the end.
 */
export async function compactJournals(site: Site): Promise<Readonly<Record<string, Compacted>>> {
  const results: Record<string, Compacted> = {};
  const troubles: unknown[] = [];
  const deadline = site.clock.monotonic() + limits.runMs;
  for (const { vpgId } of await listVpgs(site)) {
    if (site.clock.monotonic() >= deadline) break;
    try {
      results[vpgId] = await compactJournal(site, vpgId, deadline);
    } catch (error) {
      troubles.push(error);
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} journals could not be compacted`);
  return results;
}

/** The same for one VPG, until nothing is left to do, `deadline` (monotonic ms) has passed or the run has made its steps. */
export async function compactJournal(site: Site, vpgId: Id, deadline = Number.POSITIVE_INFINITY): Promise<Compacted> {
  let manifest = await manifestToFollow(site, vpgId);
  let lost = false;
  let batches = 0;
  let merged = 0;
  for (let step = 0; step < limits.stepsMax && site.clock.monotonic() < deadline; step += 1) {
    const writer = new LayerWriter(site.objects, vpgId, newId(site.clock, site.random));
    const next =
      (await dropReplaced(site, vpgId, manifest)) ??
      (await addLayer(site, vpgId, manifest, writer)) ??
      (await mergeOnce(site, vpgId, manifest, writer));
    if (next === undefined) break;
    if (!(await commitManifest(site, vpgId, next.fields))) {
      // Of two compactors, or because the table fell behind: go on from what the other made.
      lost = true;
      await writer.discard();
      manifest = await newestManifest(site, vpgId);
      continue;
    }
    batches += next.batches;
    merged += next.merged;
    manifest = manifestOf(next.fields);
  }
  return { manifest: manifest?.manifest ?? 0, layers: manifest?.layers.length ?? 0, batches, merged, lost };
}

interface Step {
  readonly fields: ManifestFields;
  readonly batches: number;
  readonly merged: number;
}

/**
 * Deletes layers that a committed manifest says were replaced a while ago, then forgets them; undefined when there are none. In
 * this order, so that a kill in between only has it done again: ids are never reused, so what was replaced stays so.
 */
async function dropReplaced(site: Site, vpgId: Id, manifest: Manifest | undefined): Promise<Step | undefined> {
  if (manifest === undefined) return undefined;
  const due = manifest.replaced.filter(({ replacedAt }) => replacedAt + limits.replacedLayersMs <= site.clock.now());
  if (due.length === 0) return undefined;
  for (const { layerId, parts } of due) await deleteParts(site.objects, { vpgId, layerId }, parts);
  const replaced = manifest.replaced.filter((layer) => !due.includes(layer));
  return { fields: { ...following(site, vpgId, manifest, manifest.layers), replaced }, batches: 0, merged: 0 };
}

/** A layer of the batches that no layer stands for yet; undefined when they are too few. */
async function addLayer(
  site: Site,
  vpgId: Id,
  manifest: Manifest | undefined,
  writer: LayerWriter,
): Promise<Step | undefined> {
  const batches = await readUncovered(site, vpgId, manifest);
  if (batches.length === 0) return undefined;
  await writeBatchesAsLayer(batches, writer);
  const ranges = joinedRanges(
    batches.map(({ ref }) => ({
      session: ref.session,
      from: ref.batch,
      to: ref.batch + 1,
      lastSequence: ref.lastSequence,
    })),
  );
  const layers = [...(manifest?.layers ?? []), layerOf(writer, ranges)];
  return { fields: following(site, vpgId, manifest, layers), batches: batches.length, merged: 0 };
}

/** Merges layers of about one size, the smallest first; undefined when there are too few of any. */
async function mergeOnce(
  site: Site,
  vpgId: Id,
  manifest: Manifest | undefined,
  writer: LayerWriter,
): Promise<Step | undefined> {
  const layers = manifest?.layers ?? [];
  const bySize = [...Map.groupBy(layers.filter(mayBeMerged), sizeOf)].sort(([left], [right]) => left - right);
  const alike = bySize.find(([, some]) => some.length >= limits.mergeLayersMin)?.[1];
  if (alike === undefined) return undefined;
  const group = alike.slice(0, limits.mergeLayersMin);
  await mergeLayers(site.objects, vpgId, group, writer, { packed: manifest?.digest !== undefined });
  const merged = layerOf(writer, joinedRanges(group.flatMap(({ ranges }) => ranges)));
  const left = layers.filter((layer) => !group.includes(layer));
  const fields = following(site, vpgId, manifest, [...left, merged]);
  const gone = group.map(({ layerId, parts }) => ({ layerId, parts: parts.length, replacedAt: fields.createdAt }));
  return { fields: { ...fields, replaced: [...fields.replaced, ...gone] }, batches: 0, merged: group.length };
}

const batchesIn = ({ ranges }: ManifestLayer): number => ranges.reduce((sum, { from, to }) => sum + to - from, 0);

/** Layers of one size differ by less than the factor that a merge grows them by, in batches. */
function sizeOf(layer: ManifestLayer): number {
  return Math.floor(Math.log(batchesIn(layer) / limits.layerBatchesMin) / Math.log(limits.mergeLayersMin));
}

/** So small that as many as are merged at once stay within a layer's bounds. */
function mayBeMerged(layer: ManifestLayer): boolean {
  const { mergeLayersMin: many, mergedExtentsMax, mergedBatchesMax } = limits;
  return layer.extents * many <= mergedExtentsMax && batchesIn(layer) * many <= mergedBatchesMax;
}

function layerOf({ layerId, extents, parts }: LayerWriter, ranges: ManifestLayer["ranges"]): ManifestLayer {
  return { layerId, ranges: [...ranges], extents, parts: [...parts] };
}

function following(
  site: Site,
  vpgId: Id,
  manifest: Manifest | undefined,
  layers: readonly ManifestLayer[],
): ManifestFields {
  const number = (manifest?.manifest ?? 0) + 1;
  const replaced = manifest?.replaced ?? [];
  const fields = { vpgId, manifest: number, createdAt: site.clock.now(), layers: [...layers], replaced };
  return { ...manifestFormat(manifest?.digest), ...fields };
}
