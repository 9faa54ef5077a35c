import type { Id } from "#core/ids.ts";
import { comparePositions } from "#core/journal/position.ts";
import { clockSlackMs, retention } from "../limits.ts";
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
 * What retention may let go, by its declaration alone (invariant 9): nothing young, tagged, leased, attached, or newest of all, and not
 * the last one of an interval that still has to have one. `gone` was listed and isn't in the bucket's listing any more.
 */
export function checkLetGo(
  protection: Protection,
  site: SimSite,
  vpgId: Id,
  gone: readonly KnownCheckpoint[],
  listed: readonly SeenCheckpoint[],
  now: number,
  leases: Leases,
): void {
  const [, tier] = retention.tiers;
  const newest = listed.reduce<SeenCheckpoint | undefined>(
    (best, each) => (best === undefined || comparePositions(best.position, each.position) < 0 ? each : best),
    undefined,
  );
  const intervals = new Set(listed.map(({ time }) => Math.floor(time / tier.everyMs)));
  const needed = attached(protection, site, vpgId);
  for (const checkpoint of gone) {
    const { id, position, tagged, instant, time } = checkpoint;
    const age = now - instant.latest;
    const why = (): string | undefined => {
      if (newest === undefined || comparePositions(position, newest.position) > 0) return "is the newest";
      if (needed.has(id)) return "is attached";
      if ((leases.get(`${site.name} ${vpgId} ${id}`) ?? 0) > now) return "is leased";
      if (age < retention.tiers[0].forMs - clockSlackMs) return `is ${Math.round(age / 1000)} s old`;
      if (tagged && age < retention.taggedMs - clockSlackMs) return "is tagged";
      if (age < tier.forMs - clockSlackMs && !intervals.has(Math.floor(time / tier.everyMs))) {
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
