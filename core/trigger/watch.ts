import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { hintKinds } from "./event.ts";
import { outcomes } from "./incident.ts";
import { triggerLimits as limits } from "./limits.ts";
import type { TriggerPolicy } from "./policy.ts";

/** What an event left on a VPG. */
export const hintSchema = z.strictObject({
  eventId: z.string(),
  kind: z.enum(hintKinds),
  source: z.string(),
  reason: z.string(),
  at: z.int(),
});
export type Hint = z.infer<typeof hintSchema>;

/** What the monitor knows of a VPG's source from one look to the next. No row is the same as `unwatched`. */
export const watchSchema = z.strictObject({
  term: z.int().min(0),
  /** An unbroken chain of looks that all saw silence; null while the source is heard. */
  silence: z.strictObject({ since: z.int(), lookedAt: z.int(), looks: z.int().min(1) }).nullable(),
  hints: z.array(hintSchema).max(limits.hintsMax),
  /** The open incident. */
  incidentId: idSchema.nullable(),
  /** The source was heard since the last incident: one outage is one incident. */
  armed: z.boolean(),
  /** No incident opens before. */
  coolUntil: z.int(),
  /** The incident that closed last. */
  last: z.strictObject({ incidentId: idSchema, outcome: z.enum(outcomes) }).nullable(),
});
export type Watch = z.infer<typeof watchSchema>;

export const unwatched: Watch = {
  ...{ term: 0, silence: null, hints: [], incidentId: null },
  ...{ armed: true, coolUntil: 0, last: null },
};

/** What one look saw. */
export interface Look {
  readonly now: number;
  /** How often the monitor looks. */
  readonly everyMs: number;
  readonly term: number;
  readonly heard: boolean;
}

/**
 * The watch after a look. Durations are counted over looks that really happened: a monitor that was down, or whose clock
 * jumped, finds the chain broken and begins a new one, so that it never takes its own absence for the source's.
 * A look too soon after the last (a second monitor, a repeated call) adds nothing to the chain.
 */
export function afterLook(watch: Watch, { now, everyMs, term, heard }: Look): Watch {
  const hints = watch.hints.filter(({ at }) => now - at <= limits.hintMs && at - now <= limits.hintMs);
  const base = { ...watch, hints, term };
  if (heard) return { ...base, silence: null, armed: true };
  const chain = watch.term === term ? watch.silence : null;
  const gapMs = chain === null ? 0 : now - chain.lookedAt;
  if (chain === null || gapMs < 0 || gapMs > limits.gapIntervalsMax * everyMs) {
    return { ...base, silence: { since: now, lookedAt: now, looks: 1 } };
  }
  if (gapMs < everyMs / 2) return base;
  return { ...base, silence: { since: chain.since, lookedAt: now, looks: chain.looks + 1 } };
}

/** Adds an event. The same event again changes nothing. */
export function withHint(watch: Watch, hint: Hint): Watch {
  if (watch.hints.some(({ eventId }) => eventId === hint.eventId)) return watch;
  return { ...watch, hints: [...watch.hints, hint].slice(-limits.hintsMax) };
}

export type Reachability = "reachable" | "suspected" | "unreachable";

/** What the watch says of the source. Events alone never make it more than suspected. */
export function reachabilityOf(watch: Watch, policy: TriggerPolicy): Reachability {
  const { silence, hints } = watch;
  if (silence === null) return hints.length === 0 ? "reachable" : "suspected";
  const lasted = silence.lookedAt - silence.since >= policy.minimumDurationMs;
  return isSilent(watch) && (lasted || isConfirmed(watch, policy)) ? "unreachable" : "suspected";
}

/** Enough looks in a row have seen silence, and this was one of them or followed at once. */
export const isSilent = ({ silence }: Watch): boolean => silence !== null && silence.looks >= limits.looksMin;

/** A named source says the same as the silence: the minimum duration need not be waited out. */
export const isConfirmed = ({ hints }: Watch, { confirmBy }: TriggerPolicy): boolean =>
  hints.some(({ kind, source }) => kind === "custom" && confirmBy.includes(source));
