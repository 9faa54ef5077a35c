import type { Id } from "#core/ids.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { Site } from "#core/site.ts";
import { triggerLimits as limits } from "./limits.ts";
import { candidateOf, nextStarts, type Standing } from "./order.ts";
import { tellPeople } from "./outbox.ts";
import { advanceSiteFailovers } from "./site-failover.ts";
import { standingOf } from "./standing.ts";
import { noteWait, startIncident } from "./start-incident.ts";
import { openIncidentIds } from "./store.ts";
import { type Supervised, supervise } from "./supervise.ts";

/** VPGs looked at side by side: reads of a few items each. */
const looksAtOnce = 8;

/**
 * The site monitor's one run: looks at every VPG's source, starts the failovers that triggers made ready, goes on with site
 * failovers that are under way, tells people. Safe to run concurrently and to be cut off anywhere. `everyMs` is how often it is
 * run. One VPG's trouble doesn't keep the others from being looked after: it is thrown at the end.
 */
export async function monitor(site: Site, everyMs: number): Promise<void> {
  const troubles: unknown[] = [];
  const guard = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      troubles.push(error);
    }
  };
  const supervised: Supervised[] = [];
  await concurrently(await watchedIds(site), looksAtOnce, (vpgId) =>
    guard(async () => {
      const looked = await supervise(site, vpgId, everyMs);
      if (looked !== undefined) supervised.push(looked);
    }),
  );
  await guard(() => startReady(site, supervised, guard));
  await guard(() => advanceSiteFailovers(site));
  await guard(() => tellPeople(site));
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} parts of the monitor's run failed`);
}

/** Every VPG, and those that were deleted with an incident open. */
async function watchedIds(site: Site): Promise<readonly Id[]> {
  const open = await openIncidentIds(site);
  return [...new Set([...(await listVpgs(site)).map(({ vpgId }) => vpgId), ...open.keys()])];
}

/** Starts what is ready in the order of priority and dependency, and notes why the rest waits. */
async function startReady(
  site: Site,
  supervised: readonly Supervised[],
  guard: (work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const ready = supervised.filter(({ incident }) => incident?.state === "ready");
  if (ready.length === 0) return;
  const byName = new Map(supervised.map((one) => [one.vpg.definition.name, one]));
  const standings = new Map<string, Standing>();
  for (const [name, one] of byName) standings.set(name, await standingOf(site, one));
  const candidates = supervised.map(({ vpg }) => candidateOf(vpg.definition));
  const { start, waits, blocked } = nextStarts(
    candidates,
    (name) => standings.get(name) ?? "free",
    limits.concurrencyDefault,
  );
  for (const name of start) {
    const one = byName.get(name);
    if (one !== undefined) await guard(() => startIncident(site, one));
  }
  for (const { vpg, incident, sight } of ready) {
    const { name } = vpg.definition;
    const why = waits.get(name) ?? blocked.get(name) ?? (start.includes(name) ? null : sight.recoverySilent);
    if (why !== null && incident !== undefined) await guard(() => noteWait(site, incident, why));
  }
}
