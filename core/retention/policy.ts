import { z } from "zod";
import type { Id } from "#core/ids.ts";
import { retentionLimits as limits } from "./limits.ts";

const tierSchema = z.strictObject({
  /** The last checkpoint of every so much source time; 0 is every checkpoint. */
  everyMs: z.int().min(0).max(limits.everyMsMax),
  /** For checkpoints not older than this, unless a tier before it has them. */
  forMs: z.int().min(limits.forMsMin).max(limits.forMsMax),
});

/** What happens when the journal has more bytes than its limit: history is made coarser, or shorter, or ingest refuses. */
export const limitPolicies = ["thin", "shorten", "pause"] as const;
export type LimitPolicy = (typeof limitPolicies)[number];

/** Which checkpoints stay listed, in the VPG's definition; `historyMs` bounds the tiers, not what is tagged. */
export const retentionSchema = z
  .strictObject({
    tiers: z
      .array(tierSchema)
      .min(1)
      .max(limits.tiersMax)
      .default(() => limits.tiersDefault.map((tier) => ({ ...tier }))),
    /** Tagged checkpoints are not thinned; they stay so long. */
    taggedMs: z.int().min(limits.forMsMin).max(limits.forMsMax).default(limits.taggedMsDefault),
    journalLimit: z
      .strictObject({ bytes: z.int().min(limits.journalLimitBytesMin), policy: z.enum(limitPolicies) })
      .exactOptional(),
  })
  .refine(({ tiers }) => tiers.every((tier, index) => isCoarser(tier, tiers[index - 1])), {
    path: ["tiers"],
    error: "each tier must be longer and coarser than the one before",
  });
export type Retention = z.infer<typeof retentionSchema>;
export type Tier = z.infer<typeof tierSchema>;

function isCoarser(tier: Tier, before: Tier | undefined): boolean {
  return before === undefined || (tier.forMs > before.forMs && tier.everyMs > before.everyMs);
}

/** What a rule needs to know of a listed checkpoint. */
export interface Candidate {
  /** Source time of its instant. */
  readonly time: number;
  /** Age counts from here, by the site's clock. */
  readonly validThrough: number;
  readonly tagged: boolean;
  readonly pinned: boolean;
  /** The operation whose commit left it behind; undefined for the history. */
  readonly lostTail: Id | undefined;
}

/** The policy as it is applied: with the VPG's history, and with what a journal limit has made of it. */
export interface AppliedRetention {
  readonly tiers: readonly Tier[];
  readonly taggedMs: number;
}

/**
 * `pressure` 0 is as declared. Each step of `thin` doubles every interval and halves how long all are kept; each of `shorten`
 * takes a fifth of the history. Tags and pins are not touched.
 */
export function appliedRetention(
  { tiers, taggedMs, journalLimit }: Retention,
  historyMs: number,
  pressure: number,
): AppliedRetention {
  const steps = journalLimit === undefined ? 0 : pressure;
  const most = journalLimit?.policy === "shorten" ? historyMs * 0.8 ** steps : historyMs;
  const coarser = journalLimit?.policy === "thin" ? 2 ** steps : 1;
  const applied = tiers.map(({ everyMs, forMs }) => ({
    everyMs: everyMs * coarser,
    forMs: Math.min(most, everyMs === 0 ? forMs / coarser : forMs),
  }));
  return { tiers: applied, taggedMs };
}

/** Checkpoints older than this are looked at: younger ones all stay. */
export function untouchedMs({ tiers }: AppliedRetention): number {
  const [first] = tiers;
  return first?.everyMs === 0 ? first.forMs : 0;
}

/**
 * Which checkpoints stay, of those that are listed, in order of position. In a tier it is the last of each interval: what it shows
 * is what was there at the interval's end, however long the VPG was idle behind it. The history and each lost tail are looked at on
 * their own: none stands for an interval of another. The newest of the history stays, and so does what is tagged, for its own time,
 * or pinned. Applied again to what is left it lets go no more.
 */
export function keptOf(candidates: readonly Candidate[], retention: AppliedRetention, now: number): readonly boolean[] {
  const intervalOf = ({ time, lostTail }: Candidate, everyMs: number): string =>
    `${Math.floor(time / everyMs)} ${lostTail ?? ""}`;
  const lastOf = retention.tiers.map(({ everyMs }) => {
    const last = new Map<string, number>();
    if (everyMs > 0) for (const [index, each] of candidates.entries()) last.set(intervalOf(each, everyMs), index);
    return last;
  });
  const newest = candidates.findLastIndex(({ lostTail }) => lostTail === undefined);
  return candidates.map((candidate, index) => {
    const age = now - candidate.validThrough;
    if (candidate.pinned || index === newest || (candidate.tagged && age <= retention.taggedMs)) return true;
    const at = retention.tiers.findIndex(({ forMs }) => age <= forMs);
    const tier = retention.tiers[at];
    if (tier === undefined) return false;
    return tier.everyMs === 0 || lastOf[at]?.get(intervalOf(candidate, tier.everyMs)) === index;
  });
}

/** Why retention does not run now; undefined when two clocks agree on what time it is. */
export type ClockTrouble = "site-clock-behind" | "no-second-clock";

/**
 * `sourceTimes` are what source clocks said last. A site's clock that moved back is seen by when it last ran; one that jumped, or a
 * source that is silent, by the two being further apart than `clockAgreesMs`.
 */
export function clockTrouble(
  now: number,
  ranAt: number | undefined,
  sourceTimes: readonly number[],
): ClockTrouble | undefined {
  if (ranAt !== undefined && now < ranAt - limits.clockStepMs) return "site-clock-behind";
  return sourceTimes.some((time) => Math.abs(now - time) <= limits.clockAgreesMs) ? undefined : "no-second-clock";
}

/** One step more while the journal is above its limit, one less when it has been well below. */
export function nextPressure({ journalLimit }: Retention, bytes: number, pressure: number): number {
  if (journalLimit === undefined || journalLimit.policy === "pause") return 0;
  if (bytes > journalLimit.bytes) return Math.min(limits.pressureMax, pressure + 1);
  return bytes < journalLimit.bytes * limits.relievedAt ? Math.max(0, pressure - 1) : pressure;
}

/** Whether ingest is to refuse: from above the limit on until the journal is well below it. */
export function isFull(limit: Retention["journalLimit"], bytes: number, before: boolean): boolean {
  if (limit?.policy !== "pause") return false;
  return bytes > limit.bytes || (before && bytes >= limit.bytes * limits.relievedAt);
}
