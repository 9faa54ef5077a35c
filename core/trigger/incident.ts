import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { triggerLimits as limits } from "./limits.ts";

/** An approver's answer, or the wait for one. The approval's id is its incident's. */
export const approvalSchema = z.strictObject({
  expiresAt: z.int(),
  decision: z.enum(["approved", "rejected"]).nullable(),
  by: z.string().nullable(),
  at: z.int().nullable(),
  notes: z.string().max(protectionLimits.notesCharactersMax),
});
export type Approval = z.infer<typeof approvalSchema>;

/**
 * open: people were told and nothing starts by itself · awaiting-approval · ready: approved or automatic, starts at the next
 * look · started: its failover is under way · closed.
 */
export const incidentStates = ["open", "awaiting-approval", "ready", "started", "closed"] as const;

/**
 * How an incident closed. recovered: the source was heard before anything started; superseded: a person's failover, a
 * new term, a deleted VPG or another policy; refused: the failover could not be started; failed-over, rolled-back, failed: how
 * its failover ended.
 */
export const outcomes = [
  "recovered",
  "rejected",
  "expired",
  "superseded",
  "refused",
  "failed-over",
  "rolled-back",
  "failed",
] as const;

/** What people are told; each once an incident. */
export const noticeKinds = ["unreachable", "approval-waits", "failover-waits", "failover-started", "closed"] as const;

export const noticeSchema = z.strictObject({ kind: z.enum(noticeKinds), text: z.string() });

/**
 * One outage of a VPG's source in one term. Its id is also that of the operation it may start: there can't be two of them.
 */
export const incidentSchema = z.strictObject({
  incidentId: idSchema,
  vpgId: idSchema,
  vpgName: z.string(),
  protectedSite: z.string(),
  term: z.int().min(1),
  openedAt: z.int(),
  reason: z.string(),
  /** What the site saw and what it was told, a sentence each. */
  evidence: z.array(z.string()).max(limits.evidenceMax),
  state: z.enum(incidentStates),
  outcome: z.enum(outcomes).nullable(),
  closedAt: z.int().nullable(),
  approval: approvalSchema.nullable(),
  /** Why one that is ready has not started yet. */
  waitsFor: z.string().nullable(),
  /** What people are told of it; each stands in the outbox too until it was delivered. */
  notices: z.array(noticeSchema).max(noticeKinds.length),
});
export type Incident = z.infer<typeof incidentSchema>;

/** Adds a notice, unless one of the kind stands. */
export function withNotice(incident: Incident, kind: (typeof noticeKinds)[number], text: string): Incident {
  if (incident.notices.some((notice) => notice.kind === kind)) return incident;
  return { ...incident, notices: [...incident.notices, { kind, text }] };
}

export function closed(incident: Incident, outcome: (typeof outcomes)[number], why: string, now: number): Incident {
  const over: Incident = { ...incident, state: "closed", outcome, closedAt: now, waitsFor: null };
  return withNotice(over, "closed", `${incident.vpgName}: ${why}`);
}
