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
import { type Cursor, newRound, type ScrubRecord } from "./record.ts";

/** A batch with the one before it, from which it must go on, and the session's object. */
const objectsOfOne = 3;

/**
 * Reads again what was found damaged, as a round would that came by. What is good now, or nothing needs any more since something
 * else stands in its place, is a finding no longer.
 */
export async function recheck(
  site: Site,
  vpgId: Id,
  standing: Standing,
  before: ScrubRecord,
): Promise<{ readonly record: ScrubRecord; readonly bytes: number }> {
  let record = before;
  let bytes = 0;
  for (const { key } of before.findings) {
    const cursor = cursorAt(key);
    const round = cursor && { ...newRound(0, false), cursor };
    const allowance = new Allowance(Number.POSITIVE_INFINITY, objectsOfOne);
    const walk = new JournalWalk(site, vpgId, standing, { ...record, round: round ?? null }, allowance);
    await walk.run();
    bytes += allowance.taken;
    const findings = walk.record.findings.filter((finding) => finding.key !== key || walk.saw(key));
    record = { ...walk.record, findings, round: before.round, last: before.last };
  }
  return { record: { ...record, recheckedAt: site.clock.now() }, bytes };
}

/** Where a round stands that comes to the object next. */
function cursorAt(key: string): Cursor | undefined {
  const batch = parseBatchKey(key) ?? parsePackKey(key);
  if (batch !== undefined) {
    const first = Math.max(0, batch.batch - 1);
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
