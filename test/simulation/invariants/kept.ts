import type { Id } from "#core/ids.ts";
import { comparePositions } from "#core/journal/position.ts";
import { clockSlackMs, historyMs, retention } from "../limits.ts";
import type { Instant } from "../oracle/judge.ts";
import type { Protection } from "../protection.ts";
import type { SimSite } from "../sim-site.ts";
import { Violation } from "../violation.ts";
import type { SeenCheckpoint } from "./images.ts";

/** A checkpoint that was listed, as it was seen last. */
export interface KnownCheckpoint extends SeenCheckpoint {
  readonly tagged: boolean;
  readonly instant: Instant;
}

/** When a lease of a view ends, in true time, by site, VPG and checkpoint. */
export type Leases = ReadonlyMap<string, number>;

/**
 * What a journal limit may have made of the declared rule, at most: each step of `thin` doubles the intervals and halves how long all
 * stay, each of `shorten` takes a fifth of the history. What is tagged, leased or attached it never touches.
 */
function pressed(pressure: number) {
  const [all, tier] = retention.tiers;
  const most = historyMs * 0.8 ** pressure;
  return {
    allMs: Math.min(most, all.forMs / 2 ** pressure),
    tierMs: Math.min(most, tier.forMs),
    everyMs: tier.everyMs * 2 ** pressure,
  };
}

/**
 * What retention may let go, by its declaration alone (invariant 9): nothing young, tagged, leased, attached, or newest of all, and not
 * the last one of an interval that still has to have one. `pressure` is how far a journal limit has pressed at most. `gone` was listed and isn't in the bucket's listing any more.
 */
export function checkLetGo(
  protection: Protection,
  site: SimSite,
  vpgId: Id,
  gone: readonly KnownCheckpoint[],
  listed: readonly SeenCheckpoint[],
  now: number,
  leases: Leases,
  pressure: number,
): void {
  const { allMs, tierMs, everyMs } = pressed(pressure);
  const newest = listed.reduce<SeenCheckpoint | undefined>(
    (best, each) => (best === undefined || comparePositions(best.position, each.position) < 0 ? each : best),
    undefined,
  );
  const intervals = new Set(listed.map(({ time }) => Math.floor(time / everyMs)));
  const needed = attached(protection, site, vpgId);
  for (const checkpoint of gone) {
    const { id, position, tagged, instant, time } = checkpoint;
    const age = now - instant.latest;
    const why = (): string | undefined => {
      if (newest === undefined || comparePositions(position, newest.position) > 0) return "is the newest";
      if (needed.has(id)) return "is attached";
      if ((leases.get(`${site.name} ${vpgId} ${id}`) ?? 0) > now) return "is leased";
      if (age < allMs - clockSlackMs) return `is ${Math.round(age / 1000)} s old`;
      if (tagged && age < retention.taggedMs - clockSlackMs) return "is tagged";
      if (age < tierMs - clockSlackMs && !intervals.has(Math.floor(time / everyMs))) {
        return "was the last one of its interval";
      }
      return undefined;
    };
    const reason = why();
    if (reason !== undefined) {
      throw new Violation("pins", `checkpoint ${id} of ${protection.name} was let go and ${reason}`);
    }
  }
}

/** Checkpoints that recovered volumes rest on at that site, unless its table was made anew since. */
export function attached(protection: Protection, site: SimSite, vpgId: Id): ReadonlySet<string> {
  const folders = protection.folders().filter(({ gateway, operationId, folder }) => {
    if (gateway.own.site !== site || folder.body.vpgId !== vpgId || protection.forgotten.has(operationId)) return false;
    return folder.attached && !folder.detached && !folder.promoted;
  });
  return new Set(folders.map(({ folder }) => folder.body.checkpointId));
}
