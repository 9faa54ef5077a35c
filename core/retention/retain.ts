import type { Id } from "#core/ids.ts";
import { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { latestDigest, latestManifest } from "#core/protection/manifests.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { changeVpg, listVpgs } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { type WaitReason, waitReason } from "./clock-guard.ts";
import { commitDigest, type Standing } from "./commit-digest.ts";
import { retentionLimits as limits } from "./limits.ts";
import { type Packed, packJournal } from "./pack-journal.ts";
import { appliedRetention, isFull, nextPressure, type Retention } from "./policy.ts";
import { noteStanding } from "./standing.ts";
import { thin } from "./thin.ts";

/** What one run did for a VPG. */
export interface Retained {
  /** Why it did nothing; null when it looked. */
  readonly waits: WaitReason | null;
  readonly unlisted: number;
  readonly packed: Packed | null;
  /** Another manifest came first; the next run goes on. */
  readonly lost: boolean;
}

/** Thinning and packing (R13) for every VPG of the site that has a retention policy; one's trouble doesn't keep the others waiting. */
export async function retainJournals(site: Site): Promise<Readonly<Record<string, Retained>>> {
  const results: Record<string, Retained> = {};
  const troubles: unknown[] = [];
  const deadline = site.clock.monotonic() + limits.runMs;
  for (const vpg of await listVpgs(site)) {
    if (site.clock.monotonic() >= deadline) break;
    try {
      const retained = await retainJournal(site, vpg);
      if (retained !== undefined) results[vpg.vpgId] = retained;
    } catch (error) {
      troubles.push(error);
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} journals could not be retained`);
  return results;
}

/** The same for one VPG; undefined when there is nothing to do now, or its definition has no retention. */
export async function retainJournal(site: Site, vpg: VpgRecord): Promise<Retained | undefined> {
  const { vpgId } = vpg;
  // Before the first session there is nothing that could age, and no second clock either.
  if (vpg.definition.retention === undefined || vpg.deleted || vpg.lastSession === 0) return undefined;
  const now = site.clock.now();
  const { thinnedAt = 0 } = (await latestDigest(site, vpgId))?.fields ?? {};
  const thins = now < thinnedAt || now - thinnedAt >= limits.thinEveryMs;
  if (!thins) return packs(site, vpg, 0);
  const scan = await CheckpointScan.open(site, vpgId);
  await holdToLimit(site, vpg, vpg.definition.retention, scan);
  const waits = await waitReason(site, vpg, scan);
  if (waits !== undefined) return waiting(site, vpgId, waits);
  const standing = await standingOf(site, vpgId, scan);
  const unlisted = standing && (await thinOnce(site, vpg, scan, standing));
  if (unlisted === undefined) return { waits: null, unlisted: 0, packed: null, lost: true };
  return (await packs(site, vpg, unlisted)) ?? { waits: null, unlisted, packed: null, lost: false };
}

async function waiting(site: Site, vpgId: Id, waits: WaitReason): Promise<Retained> {
  // What a commit left is kept for a day, as is meant; the other reasons are somebody's to mend.
  site.log[waits === "lost-tail-kept" ? "info" : "warn"]("retention-waits", { vpgId, reason: waits });
  await noteStanding(site, vpgId, { waits });
  return { waits, unlisted: 0, packed: null, lost: false };
}

/** How many checkpoints were let go; undefined when another manifest came first: what was marked is taken up by the next run. */
async function thinOnce(
  site: Site,
  vpg: VpgRecord,
  scan: CheckpointScan,
  standing: Standing,
): Promise<number | undefined> {
  const { retention, historyMs } = vpg.definition;
  if (retention === undefined) return 0;
  const pressure = nextPressure(retention, scan.summary().journalBytes, scan.digest?.fields.pressure ?? 0);
  const thinned = await thin(site, vpg.vpgId, scan, appliedRetention(retention, historyMs, pressure));
  const ranAt = site.clock.now();
  if (!(await commitDigest(site, vpg.vpgId, standing, { thinnedAt: ranAt, pressure, ...thinned?.change })))
    return undefined;
  const unlisted = thinned?.unlisted ?? 0;
  await noteStanding(site, vpg.vpgId, { ranAt, waits: null, unlisted, pressure });
  return unlisted;
}

/**
 * Packs what has become packable, if it is time; undefined when it isn't. Where nothing new is listed, as in a full journal that is
 * paused, what tiers let go behind is packed when it goes, or nothing would ever get smaller.
 */
async function packs(site: Site, vpg: VpgRecord, unlisted: number): Promise<Retained | undefined> {
  const { vpgId } = vpg;
  const { packedAt, packedThrough, thinnedThrough } = (await latestDigest(site, vpgId))?.fields ?? {};
  if (packedAt === undefined || (thinnedThrough === packedThrough && unlisted === 0)) return undefined;
  const waitsMs = packedThrough === null ? 0 : limits.packEveryMs;
  if (site.clock.now() - packedAt < waitsMs) return undefined;
  const scan = await CheckpointScan.open(site, vpgId);
  const waits = await waitReason(site, vpg, scan);
  if (waits !== undefined) return waiting(site, vpgId, waits);
  const standing = await standingOf(site, vpgId, scan);
  const packed = standing && (await packJournal(site, vpgId, standing, scan));
  return { waits: null, unlisted, packed: packed ?? null, lost: packed?.lost ?? true };
}

/** The manifest that names the digest by which the scan lists; undefined when another came in between. */
async function standingOf(site: Site, vpgId: Id, { digest }: CheckpointScan): Promise<Standing | undefined> {
  const manifest = await latestManifest(site, vpgId);
  return manifest?.digest?.digestId === digest?.fields.digestId ? { manifest, digest } : undefined;
}

/** Says that the journal is above its limit, and pauses the VPG where that is its policy. It deletes nothing, so it waits for nothing. */
async function holdToLimit(
  site: Site,
  { vpgId, role, journalFull, definition: { name } }: VpgRecord,
  { journalLimit }: Retention,
  scan: CheckpointScan,
): Promise<void> {
  const { journalBytes } = scan.summary();
  if (journalLimit !== undefined && journalBytes > journalLimit.bytes) {
    const { bytes: limitBytes, policy } = journalLimit;
    const pressure = scan.digest?.fields.pressure ?? 0;
    site.log.warn("journal-limit", { vpgId, name, journalBytes, limitBytes, policy, pressure });
  }
  // Before a reverse protection's first checkpoint nobody could edit the limit, at either site: it would never end.
  const full = role !== "Preparing" && isFull(journalLimit, journalBytes, journalFull);
  if (full !== journalFull) await changeVpg(site, vpgId, () => ({ journalFull: full }));
}
