import { assertNever } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { VpgDefinition } from "#core/protection/definition.ts";
import type { Phase } from "#core/protection/operation.ts";
import { formatDuration } from "#core/units.ts";
import { closed, type Incident, withNotice } from "./incident.ts";
import { triggerLimits as limits } from "./limits.ts";
import { isSilent, reachabilityOf, type Watch } from "./watch.ts";

/** All that the next state of an incident depends on, besides the watch. */
export interface Circumstances {
  readonly now: number;
  readonly definition: Pick<VpgDefinition, "vpgId" | "name" | "protectedSite" | "trigger">;
  readonly term: number;
  /** The VPG's journal is here, a session was opened once, and nobody paused it. */
  readonly watched: boolean;
  /** The VPG's live operation, whoever started it; also one that the site has forgotten. */
  readonly operationId: Id | null;
  /** Of the incident's own operation; null while there is none. */
  readonly phase: Phase | null;
  readonly heard: boolean;
  /** One sentence a source gateway and what else was seen. */
  readonly seen: readonly string[];
  /** For an incident that opens now. */
  readonly newIncidentId: Id;
}

export interface Judgement {
  readonly watch: Watch;
  readonly incident: Incident | undefined;
}

/**
 * What becomes of a VPG's incident after a look: at most one is open, it opens on what the site itself saw, and closes as soon
 * as the source is heard unless its failover has started. Pure; says "ready" and never starts anything.
 */
export function judge(looked: Watch, incident: Incident | undefined, facts: Circumstances): Judgement {
  const { coolDownMs } = facts.definition.trigger;
  // A clock that was ahead when the last incident closed, and was set right, must not keep the next one shut.
  const watch = { ...looked, coolUntil: Math.min(looked.coolUntil, facts.now + coolDownMs) };
  if (incident === undefined) return mayOpen(watch, facts) ? open(watch, facts) : { watch, incident };
  const next =
    facts.phase === null ? beforeStart(watch, incident, facts) : afterStart(incident, facts.phase, facts.now);
  if (next.state !== "closed") return { watch, incident: next };
  return { watch: afterClosing(watch, next, { now: facts.now, coolDownMs, heard: facts.heard }), incident: next };
}

/** The next incident opens after the cool-down, and only once the source was heard. */
export function afterClosing(
  watch: Watch,
  { incidentId, outcome }: Incident,
  { now, coolDownMs, heard }: { readonly now: number; readonly coolDownMs: number; readonly heard: boolean },
): Watch {
  const last = outcome === null ? watch.last : { incidentId, outcome };
  return { ...watch, incidentId: null, armed: heard, coolUntil: now + coolDownMs, last };
}

function mayOpen(watch: Watch, { now, definition: { trigger }, watched, operationId }: Circumstances): boolean {
  if (!watched || operationId !== null || trigger.policy === "off") return false;
  return watch.armed && now >= watch.coolUntil && reachabilityOf(watch, trigger) === "unreachable";
}

function open(watch: Watch, facts: Circumstances): Judgement {
  const { definition, now, newIncidentId: incidentId } = facts;
  const { trigger, name: vpgName, vpgId, protectedSite } = definition;
  const silentMs = watch.silence === null ? 0 : now - watch.silence.since;
  const reason = `its source has been silent for ${formatDuration(silentMs)}`;
  const told = watch.hints.map(({ kind, source, reason: why }) => `${kind} event of ${source}: ${why}`);
  const looks = `${watch.silence?.looks ?? 0} looks in a row saw silence, over ${formatDuration(silentMs)}`;
  const base: Incident = {
    ...{ incidentId, vpgId, vpgName, protectedSite, term: facts.term, openedAt: now, reason },
    evidence: [looks, ...told, ...facts.seen].slice(0, limits.evidenceMax),
    ...{ state: "open", outcome: null, closedAt: null, approval: null, waitsFor: null, notices: [] },
  };
  const incident = withNotice(base, "unreachable", `${vpgName}: ${reason} (policy ${trigger.policy})`);
  return { watch: { ...watch, incidentId }, incident: byPolicy(incident, trigger, now) };
}

function byPolicy(incident: Incident, trigger: VpgDefinition["trigger"], now: number): Incident {
  switch (trigger.policy) {
    case "off":
    case "notify":
      return incident;
    case "automatic":
      return { ...incident, state: "ready" };
    case "approve": {
      const expiresAt = now + trigger.approvalExpiryMs;
      const approval = { expiresAt, decision: null, by: null, at: null, notes: "" };
      const { incidentId, vpgName } = incident;
      const text = `${vpgName}: a failover waits for farshore approval approve ${incidentId}, until ${new Date(expiresAt).toISOString()}`;
      return withNotice({ ...incident, state: "awaiting-approval", approval }, "approval-waits", text);
    }
    default:
      return assertNever(trigger.policy);
  }
}

function beforeStart(watch: Watch, incident: Incident, facts: Circumstances): Incident {
  const { now, definition, heard } = facts;
  if (heard) return closed(incident, "recovered", "its source was heard again; nothing was started", now);
  if (!facts.watched || facts.term !== incident.term || definition.trigger.policy === "off") {
    return closed(incident, "superseded", "it is no longer protected here as it was", now);
  }
  if (facts.operationId !== null) return closed(incident, "superseded", "a person's failover is under way", now);
  const { approval } = incident;
  if (approval?.decision === "rejected") {
    return closed(incident, "rejected", `the failover was rejected by ${approval.by}`, now);
  }
  if (approval !== null && now >= approval.expiresAt) {
    const why =
      approval.decision === null ? "nobody approved the failover in time" : "the failover could not start in time";
    return closed(incident, "expired", `${why}; a person may still start it`, now);
  }
  if (incident.state === "awaiting-approval" && approval?.decision === "approved" && isSilent(watch)) {
    return { ...incident, state: "ready" };
  }
  return incident;
}

/** True when a look of this moment lets a ready incident start: the chain may have been broken since it opened. */
export function mayStart(watch: Watch, incident: Incident, { trigger }: Pick<VpgDefinition, "trigger">): boolean {
  if (incident.state !== "ready" || !isSilent(watch)) return false;
  return incident.approval?.decision === "approved" || reachabilityOf(watch, trigger) === "unreachable";
}

function afterStart(incident: Incident, phase: Phase, now: number): Incident {
  const { incidentId } = incident;
  const started: Incident = { ...incident, state: "started", waitsFor: null };
  const told = withNotice(started, "failover-started", `${incident.vpgName}: failover ${incidentId} was started`);
  switch (phase) {
    case "Completed":
      return closed(told, "failed-over", `failover ${incidentId} was committed`, now);
    case "RolledBack":
      return closed(told, "rolled-back", `failover ${incidentId} was rolled back`, now);
    case "Failed":
      return closed(told, "failed", `failover ${incidentId} failed; farshore operation show ${incidentId}`, now);
    default:
      return told;
  }
}
