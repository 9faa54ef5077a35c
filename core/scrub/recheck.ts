import { Diverged } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import {
  parseBatchKey,
  parseDigestKey,
  parseLayerPartKey,
  parseManifestKey,
  parsePackKey,
  parseSessionClaimKey,
} from "#core/journal/keys.ts";
import { u32Max } from "#core/journal/limits.ts";
import type { Site } from "#core/site.ts";
import { Allowance } from "./allowance.ts";
import { JournalWalk, type Standing } from "./journal-walk.ts";
import { scrubLimits as limits } from "./limits.ts";
import { type Cursor, type Finding, newRound, type ScrubRecord } from "./record.ts";

/** What was found damaged and is to be read again now: the part that was read longest ago. */
export function recheckOrder({ findings }: ScrubRecord): readonly Finding[] {
  return [...findings].sort((one, other) => one.readAt - other.readAt).slice(0, limits.recheckFindings);
}

/**
 * Reads again what was found damaged, and nothing else, as a round would that came by. What is good now, or nothing needs any more
 * since something else stands in its place, is a finding no longer.
 */
export async function recheck(
  site: Site,
  vpgId: Id,
  standing: Standing,
  before: ScrubRecord,
  { key, error }: Finding,
): Promise<{ readonly record: ScrubRecord; readonly bytes: number }> {
  // Whether a batch goes on from the one before can't be seen without that.
  const objects = error === Diverged.name ? 2 : 1;
  const cursor = cursorAt(key, objects - 1);
  const round = cursor && { ...newRound(0, false), cursor };
  const allowance = new Allowance(Number.POSITIVE_INFINITY, objects);
  const walk = new JournalWalk(site, vpgId, standing, { ...before, round: round ?? null }, allowance);
  await walk.run();
  const findings = walk.record.findings.filter((finding) => finding.key !== key || walk.saw(key));
  const { round: under, last } = before;
  const record = { ...walk.record, findings, round: under, last, recheckedAt: site.clock.now() };
  return { record, bytes: allowance.taken };
}

/** Where a round stands that comes to the object next, or to so many batches before it. */
function cursorAt(key: string, batchesBefore: number): Cursor | undefined {
  const batch = parseBatchKey(key) ?? parsePackKey(key);
  if (batch !== undefined) {
    const first = Math.max(0, batch.batch - batchesBefore);
    const unknown = { sequence: first === 0 ? 0 : -1, hash: null, closed: false, sizes: [] };
    return { area: "sessions", session: batch.session, stand: { batch: first, ...unknown } };
  }
  const session = parseSessionClaimKey(key)?.session;
  if (session !== undefined) return { area: "sessions", session: session - 1, stand: null };
  const layer = parseLayerPartKey(key);
  if (layer !== undefined) return { area: "layers", layerId: layer.layerId, part: layer.part - 1 };
  const manifest = parseManifestKey(key)?.manifest;
  if (manifest !== undefined) return { area: "manifests", manifest: manifest - 1 };
  return parseDigestKey(key) === undefined ? undefined : { area: "manifests", manifest: u32Max };
}
