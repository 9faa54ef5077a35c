import type { Id } from "#core/ids.ts";
import { comparePositions } from "#core/journal/position.ts";
import type { ListedCheckpoint } from "#core/protection/checkpoint-row.ts";
import type { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { markLeaving } from "#core/protection/checkpoints.ts";
import { lostTailsInBucket } from "#core/protection/lost-tails.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { Site } from "#core/site.ts";
import type { DigestChange } from "./commit-digest.ts";
import { retentionLimits as limits } from "./limits.ts";
import { type AppliedRetention, keptOf, untouchedMs } from "./policy.ts";

/**
 * The first half of R13's thinning: marks, each on its own item, the checkpoints that the rule lets go and nobody has pinned or tagged since. What
 * comes back is the second half, the digest that lists them no more; until a manifest names it they are listed. Undefined when
 * there is nothing to look at.
 */
export async function thin(
  site: Site,
  vpgId: Id,
  scan: CheckpointScan,
  retention: AppliedRetention,
): Promise<{ readonly change: DigestChange; readonly unlisted: number } | undefined> {
  const now = site.clock.now();
  const listed: ListedCheckpoint[] = [];
  for await (const checkpoint of scan.newestFirst()) listed.push(checkpoint);
  listed.reverse();
  const through = reachOf(listed, now, untouchedMs(retention));
  const last = listed[through];
  const stood = standsAt(scan, listed);
  if (last === undefined || stood === undefined) return undefined;
  const tails = await lostTailsInBucket(site, vpgId, scan.sessions);
  const keeps = keptOf(
    listed.map((checkpoint) => {
      const { time, tags, pinOwners } = checkpoint;
      const lostTail = tails.ownerOf(checkpoint);
      const validThrough = agesFrom(checkpoint, now);
      return { time, validThrough, tagged: tags.length > 0, pinned: pinOwners.length > 0, lostTail };
    }),
    retention,
    now,
  );
  const going = listed.filter(({ leaving }, index) => index < through && (leaving || keeps[index] === false));
  // The oldest go first; the last that is looked at stays until the next run, so that the first of those kept is always known.
  const gone = going.slice(0, limits.unlistedMax);
  const end = gone.length < going.length ? (gone.at(-1) ?? last) : last;
  const stays = new Set<ListedCheckpoint>();
  await concurrently(gone, limits.marksAtOnce, async (checkpoint) => {
    if (!(await markLeaving(site, vpgId, checkpoint))) stays.add(checkpoint);
  });
  // Never back behind where it stood: that would list again what was let go, and packs no longer show.
  const before = listed.slice(0, Math.max(listed.indexOf(end), stood) + 1);
  const newest = before.at(-1) ?? end;
  const unlisted = new Set(gone.filter((checkpoint) => !stays.has(checkpoint) && checkpoint !== newest));
  const kept = before.filter((checkpoint) => !unlisted.has(checkpoint));
  const change: DigestChange = {
    thinnedAt: now,
    thinnedThrough: newest.id,
    kept: kept.map(({ id }) => id),
    oldestTime: kept[0]?.time ?? null,
    passed: passedBy(scan, before),
  };
  return { change, unlisted: unlisted.size };
}

/** Where thinning got to, in the list; -1 before its first run. Undefined where the list ends before it: the table is an old one. */
function standsAt({ digest }: CheckpointScan, listed: readonly ListedCheckpoint[]): number | undefined {
  const { thinnedThrough } = digest ?? {};
  if (thinnedThrough === undefined) return -1;
  const index = listed.findIndex(({ position }) => comparePositions(position, thinnedThrough) === 0);
  return index < 0 ? undefined : index;
}

/** The last one that is old enough to be looked at, or was marked by a run that was killed; never the newest. */
function reachOf(listed: readonly ListedCheckpoint[], now: number, untouched: number): number {
  return listed.findLastIndex(
    (checkpoint, index) =>
      index < listed.length - 1 && (checkpoint.leaving || agesFrom(checkpoint, now) < now - untouched),
  );
}

/**
 * By the site's clock when it came, or by the source's: either may have been behind, and what is young must not look old for it. A
 * source time further ahead than clocks may be apart was a wrong clock's: by it nothing would go until that time has come.
 */
const agesFrom = ({ time, validThrough }: ListedCheckpoint, now: number): number =>
  time > now + limits.clockAgreesMs ? validThrough : Math.max(validThrough, Math.min(time, now));

/** Session to how many checkpoints it had so far, listed or not; a barrier is counted elsewhere. */
function passedBy(
  { digest }: CheckpointScan,
  before: readonly ListedCheckpoint[],
): { session: number; checkpoints: number }[] {
  const passed = new Map(digest?.fields.passed.map(({ session, checkpoints }) => [session, checkpoints]));
  const { thinnedThrough } = digest ?? {};
  for (const { position, vector } of before) {
    if (vector !== null || (thinnedThrough && comparePositions(position, thinnedThrough) <= 0)) continue;
    passed.set(position.session, (passed.get(position.session) ?? 0) + 1);
  }
  return [...passed].map(([session, checkpoints]) => ({ session, checkpoints })).sort((a, b) => a.session - b.session);
}
