import { type Id, newId } from "#core/ids.ts";
import { tableFields } from "#core/json.ts";
import { findPhase } from "#core/protection/operation-phase.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { findVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { equalValues } from "#core/table-rules.ts";
import { closed, type Incident } from "./incident.ts";
import { type Circumstances, judge } from "./judge.ts";
import { isWatched, look, type Sight } from "./sight.ts";
import { findIncident, putIncident, putWatch, readWatch } from "./store.ts";
import { afterLook, type Watch } from "./watch.ts";

/** A VPG right after a look: what is stored now, and what was seen. */
export interface Supervised {
  readonly vpg: VpgRecord;
  readonly watch: Watch;
  readonly incident: Incident | undefined;
  readonly sight: Sight;
}

/**
 * One look at one VPG: reads, judges, writes under the condition that nobody wrote in between. Any number of these may run at
 * once, and any may be cut off anywhere: the next one goes on from what is stored. Undefined for a VPG that is gone.
 */
export function supervise(site: Site, vpgId: Id, everyMs: number): Promise<Supervised | undefined> {
  return tryAgain(`the watch of ${vpgId}`, async () => {
    const vpg = await findVpg(site, vpgId);
    const { value: watch, unchanged } = await readWatch(site, vpgId);
    const open = watch.incidentId === null ? undefined : await findIncident(site, watch.incidentId);
    const now = site.clock.now();
    if (vpg === undefined || vpg.deleted) {
      if (open === undefined) return undefined;
      const over = closed(open.value, "superseded", "the VPG was deleted", now);
      await site.table.transact([
        putWatch(vpgId, { ...watch, incidentId: null }, unchanged),
        ...putIncident(over, open),
      ]);
      return undefined;
    }
    const watched = isWatched(vpg);
    const sight = await look(site, vpg, { now, before: watch.silence?.lookedAt ?? null });
    // A VPG that isn't watched counts as heard: no chain begins that would be believed once it is watched again.
    const looked = afterLook(watch, { now, everyMs, term: vpg.term, heard: sight.heard || !watched });
    const facts: Circumstances = {
      ...{ now, definition: vpg.definition, term: vpg.term, watched },
      operationId: vpg.operationId ?? vpg.forgotten[0]?.operationId ?? null,
      phase: open === undefined ? null : ((await findPhase(site, open.value.incidentId))?.phase ?? null),
      heard: sight.heard,
      seen: sight.seen,
      newIncidentId: newId(site.clock, site.random),
    };
    const judged = judge(looked, open?.value, facts);
    await store(site, vpgId, { before: watch, after: judged.watch, unchanged }, judged.incident, open);
    return { vpg, watch: judged.watch, incident: judged.incident, sight };
  });
}

/** Nothing is written when nothing changed: a source that is heard costs reads alone. */
async function store(
  site: Site,
  vpgId: Id,
  watch: { readonly before: Watch; readonly after: Watch; readonly unchanged: Parameters<typeof putWatch>[2] },
  incident: Incident | undefined,
  open: Awaited<ReturnType<typeof findIncident>>,
): Promise<void> {
  const changed = incident !== undefined && !same(incident, open?.value);
  if (!changed && same(watch.after, watch.before)) return;
  await site.table.transact([
    putWatch(vpgId, watch.after, watch.unchanged),
    ...(changed ? putIncident(incident, open) : []),
  ]);
  if (!changed || incident.state === open?.value.state) return;
  const { incidentId, state, outcome, reason } = incident;
  site.log.warn("incident", { incidentId, vpgId, vpg: incident.vpgName, state, outcome, reason });
}

const same = (left: object, right: object | undefined): boolean =>
  right !== undefined && equalValues(tableFields(left), tableFields(right));
