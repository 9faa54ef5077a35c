import type { SiteFailoverAsk, SiteFailoverView } from "#core/api/trigger-api.ts";
import { FarshoreError, InvalidInput, isRetryable, OperationInProgress } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { getVpg, listVpgs, type VpgRecord } from "#core/protection/vpg-store.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import { findOperation } from "#core/recovery/operation-store.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Caller, Site } from "#core/site.ts";
import { triggerLimits as limits } from "./limits.ts";
import { nextStarts, type Standing } from "./order.ts";
import * as records from "./site-failover-record.ts";
import { standingInPhase } from "./standing.ts";

/** The VPGs of a protected site as they would be failed over, in the order of starting. Throws `InvalidInput` when there are none. */
export async function planSiteFailover(
  site: Site,
  protectedSite: string,
): Promise<readonly records.SiteFailoverEntry[]> {
  const vpgs = (await listVpgs(site)).filter(({ definition }) => definition.protectedSite === protectedSite);
  if (vpgs.length === 0) {
    throw new InvalidInput(`no VPG is protected at "${protectedSite}"; farshore status shows the sites`, {
      field: "protectedSite",
    });
  }
  if (vpgs.length > limits.siteVpgsMax) {
    throw new InvalidInput(`"${protectedSite}" has more than ${limits.siteVpgsMax} VPGs`, { field: "protectedSite" });
  }
  const names = new Set(vpgs.map(({ definition }) => definition.name));
  const entries = vpgs.map((vpg) => entryOf(site, vpg, names));
  return inOrder(entries);
}

function entryOf(site: Site, { vpgId, operationId, definition }: VpgRecord, names: ReadonlySet<string>) {
  const { name, trigger } = definition;
  return {
    ...{ vpgId, name, priority: trigger.priority },
    dependsOn: trigger.dependsOn.filter((other) => names.has(other)),
    // A failover that a person has begun is this VPG's part.
    operationId: operationId ?? newId(site.clock, site.random),
    refused: null,
  };
}

/** As they would start one by one if each came up at once. */
function inOrder(entries: readonly records.SiteFailoverEntry[]): readonly records.SiteFailoverEntry[] {
  const placed: records.SiteFailoverEntry[] = [];
  const done = new Set<string>();
  while (placed.length < entries.length) {
    const standing = (name: string): Standing => (done.has(name) ? "up" : "pending");
    const [next] = nextStarts(entries, standing, 1).start;
    const entry = entries.find(({ name }) => name === next);
    if (entry === undefined) throw new TypeError("creation refuses dependencies that go in circles");
    placed.push(entry);
    done.add(entry.name);
  }
  return placed;
}

/**
 * Fails over all VPGs of a protected site, or goes on with the failover of it that is under way: asking again is how an
 * interrupted one is resumed, and starts nothing twice. Answers how far it is.
 */
export async function failOverSite(
  site: Site,
  caller: Caller,
  protectedSite: string,
  ask: SiteFailoverAsk,
): Promise<SiteFailoverView> {
  if (ask.options.checkpoint.kind === "id") {
    throw new InvalidInput("a checkpoint's id is of one VPG; for a whole site say latest, a time or a tag", {
      field: "options.checkpoint",
    });
  }
  const siteFailoverId = await tryAgain(`the failover of ${protectedSite}`, async () => {
    const repeated = await records.findSiteFailover(site, ask.requestId);
    const under = repeated ?? (await records.openSiteFailover(site, protectedSite));
    if (under !== undefined) return under.record.siteFailoverId;
    const { name } = caller;
    const entries = [...(await planSiteFailover(site, protectedSite))];
    const record: records.SiteFailover = {
      ...{ siteFailoverId: ask.requestId, protectedSite, options: ask.options, concurrency: ask.concurrency },
      ...{ startedBy: { name, role: "operator" }, createdAt: site.clock.now(), endedAt: null, entries },
    };
    await site.table.transact(records.creation(record));
    site.log.warn("site-failover-started", { siteFailoverId: ask.requestId, protectedSite, vpgs: entries.length });
    return record.siteFailoverId;
  });
  return advance(site, siteFailoverId);
}

/** Goes on with every site failover that is under way. */
export async function advanceSiteFailovers(site: Site): Promise<void> {
  for (const siteFailoverId of await records.openSiteFailovers(site)) await advance(site, siteFailoverId);
}

/** Starts what can start now, and ends the site failover when nothing more will. */
async function advance(site: Site, siteFailoverId: Id): Promise<SiteFailoverView> {
  const found = await records.findSiteFailover(site, siteFailoverId);
  if (found === undefined) throw new TypeError(`site failover ${siteFailoverId} has no record`);
  const { entries, concurrency, endedAt } = found.record;
  if (endedAt !== null) return view(site, found.record);
  const standings = await standingsOf(site, entries);
  const { start } = nextStarts(entries, (name) => standings.get(name) ?? "up", concurrency);
  const changed = new Map<string, Partial<records.SiteFailoverEntry>>();
  await concurrently(start, concurrency, async (name) => {
    const entry = entries.find((one) => one.name === name);
    const change = entry && (await startEntry(site, found.record, entry));
    if (change !== undefined) changed.set(name, change);
  });
  const record = await settle(site, siteFailoverId, changed);
  return view(site, record);
}

/** Starts one VPG's failover; what is to be noted on its entry when it can't be. */
async function startEntry(
  site: Site,
  { startedBy, options }: records.SiteFailover,
  { vpgId, operationId }: records.SiteFailoverEntry,
): Promise<Partial<records.SiteFailoverEntry> | undefined> {
  const caller: Caller = { ...startedBy, gatewayId: null };
  try {
    const vpg = await getVpg(site, vpgId);
    await startOperation(site, caller, vpg, { kind: "failover-live", options, requestId: operationId });
    return undefined;
  } catch (error) {
    if (!(error instanceof FarshoreError) || isRetryable(error)) throw error;
    const theirs = idSchema.safeParse(error.details["operationId"]);
    if (error instanceof OperationInProgress && theirs.success) return { operationId: theirs.data };
    site.log.error("site-failover-refused", { vpgId, operationId, error: error.name, message: error.message });
    return { refused: { name: error.name, message: error.message } };
  }
}

/** Notes what changed, and the end once every VPG is up, failed, or can't start. */
function settle(
  site: Site,
  siteFailoverId: Id,
  changed: ReadonlyMap<string, Partial<records.SiteFailoverEntry>>,
): Promise<records.SiteFailover> {
  return tryAgain(`site failover ${siteFailoverId}`, async () => {
    const found = await records.findSiteFailover(site, siteFailoverId);
    if (found === undefined) throw new TypeError(`site failover ${siteFailoverId} has no record`);
    const { record, rev } = found;
    if (record.endedAt !== null) return record;
    const entries = record.entries.map((entry) => ({ ...entry, ...changed.get(entry.name) }));
    const standings = await standingsOf(site, entries);
    const starts = nextStarts(entries, (name) => standings.get(name) ?? "up", entries.length);
    const over = entries.every(
      ({ name }) => ["up", "failed"].includes(standings.get(name) ?? "up") || starts.blocked.has(name),
    );
    if (!over && changed.size === 0) return record;
    const next = { ...record, entries, endedAt: over ? site.clock.now() : null };
    await site.table.transact(records.change(next, rev));
    if (over) site.log.warn("site-failover-ended", { siteFailoverId, protectedSite: record.protectedSite });
    return next;
  });
}

async function standingsOf(
  site: Site,
  entries: readonly records.SiteFailoverEntry[],
): Promise<ReadonlyMap<string, Standing>> {
  const standings = new Map<string, Standing>();
  for (const { name, operationId, refused } of entries) {
    // Before what was noted: of two that asked at once, one may have been refused.
    const operation = await findOperation(site, operationId);
    const alone = refused === null ? "pending" : "failed";
    standings.set(name, operation === undefined ? alone : standingInPhase(operation.phase));
  }
  return standings;
}

/** How far it is, VPG by VPG, in the order of the plan. */
async function view(site: Site, record: records.SiteFailover): Promise<SiteFailoverView> {
  const { siteFailoverId, protectedSite, createdAt, endedAt, entries, concurrency, startedBy } = record;
  const standings = await standingsOf(site, entries);
  const { waits, blocked } = nextStarts(entries, (name) => standings.get(name) ?? "up", concurrency);
  const vpgs: SiteFailoverView["vpgs"] = [];
  for (const { name, vpgId, priority, dependsOn, operationId, ...entry } of entries) {
    const operation = await findOperation(site, operationId);
    const refused = operation === undefined ? entry.refused : null;
    const standing = blocked.has(name) ? "blocked" : (standings.get(name) ?? "up");
    vpgs.push({
      ...{ name, vpgId, priority, dependsOn, operationId },
      state: standing,
      phase: operation?.phase ?? null,
      detail: refused === null ? (waits.get(name) ?? blocked.get(name) ?? "") : `${refused.name}: ${refused.message}`,
      error: operation?.error ?? refused,
      rtoMs: operation?.rtoMs ?? null,
    });
  }
  return { siteFailoverId, protectedSite, createdAt, endedAt, startedBy: `operator:${startedBy.name}`, vpgs };
}
