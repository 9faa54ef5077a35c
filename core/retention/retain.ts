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
import { appliedRetention, nextPressure, type Retention } from "./policy.ts";
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
  const { retention, historyMs } = vpg.definition;
  if (retention === undefined || vpg.deleted) return undefined;
  const digest = await latestDigest(site, vpgId);
  const now = site.clock.now();
  const { thinnedAt = 0, packedAt = 0, thinnedThrough, packedThrough } = digest?.fields ?? {};
  const thins = now < thinnedAt || now - thinnedAt >= limits.thinEveryMs;
  const packs = now - packedAt >= limits.packEveryMs && thinnedThrough !== packedThrough;
  if (!thins && !packs) return undefined;
  const scan = await CheckpointScan.open(site, vpgId);
  const waits = await waitReason(site, vpg, scan);
  if (waits !== undefined) {
    site.log.warn("retention-waits", { vpgId, reason: waits });
    await noteStanding(site, vpgId, { waits });
    return { waits, unlisted: 0, packed: null, lost: false };
  }
  const pressure = await pressureOf(site, vpg, retention, scan);
  const standing = await standingOf(site, vpgId, scan);
  if (standing === undefined) return { waits: null, unlisted: 0, packed: null, lost: true };
  if (thins) {
    const applied = appliedRetention(retention, historyMs, pressure);
    const thinned = await thin(site, vpgId, scan, applied);
    const change = { thinnedAt: now, pressure, ...thinned?.change };
    const lost = !(await commitDigest(site, vpgId, standing, change));
    const unlisted = lost ? 0 : (thinned?.unlisted ?? 0);
    await noteStanding(site, vpgId, { ranAt: now, waits: null, unlisted, pressure });
    return { waits: null, unlisted, packed: null, lost };
  }
  const packed = await packJournal(site, vpgId, standing, scan);
  return { waits: null, unlisted: 0, packed, lost: packed.lost };
}

/** The manifest that names the digest by which the scan lists; undefined when another came in between. */
async function standingOf(site: Site, vpgId: Id, { digest }: CheckpointScan): Promise<Standing | undefined> {
  const manifest = await latestManifest(site, vpgId);
  return manifest?.digest?.digestId === digest?.fields.digestId ? { manifest, digest } : undefined;
}

/** How far the journal's limit presses; says so, and pauses the VPG where that is its policy. */
async function pressureOf(
  site: Site,
  { vpgId, journalFull, definition }: VpgRecord,
  retention: Retention,
  scan: CheckpointScan,
): Promise<number> {
  const { journalLimit } = retention;
  const { journalBytes } = scan.summary();
  const before = scan.digest?.fields.pressure ?? 0;
  const pressure = nextPressure(retention, journalBytes, before);
  const over = journalLimit !== undefined && journalBytes > journalLimit.bytes;
  const relieved = journalLimit === undefined || journalBytes < journalLimit.bytes * limits.relievedAt;
  if (over) {
    const { name } = definition;
    site.log.warn("journal-limit", {
      vpgId,
      name,
      journalBytes,
      limitBytes: journalLimit.bytes,
      policy: journalLimit.policy,
      pressure,
    });
  }
  const full = journalLimit?.policy === "pause" && (over || (journalFull && !relieved));
  if (full !== journalFull) await changeVpg(site, vpgId, () => ({ journalFull: full }));
  return pressure;
}
