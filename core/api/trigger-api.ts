import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { liveOptionsSchema } from "#core/protection/operation.ts";
import { incidentSchema } from "#core/trigger/incident.ts";
import { triggerLimits as limits } from "#core/trigger/limits.ts";

/**
 * The part of the site API (site-api.ts) that is about what starts failovers. An approval's id is its incident's.
 *
 *   POST   /events                                     [operator] an event of EventBridge's form → receivedSchema
 *   GET    /incidents?vpg=                             [viewer] {incidents: incidentSchema[]}, newest first
 *   GET    /incidents/ID                               [viewer] incidentSchema
 *   POST   /incidents/ID/approval                      [approver] approvalAnswerSchema → incidentSchema
 *   GET    /protected-sites/NAME/failover-plan         [viewer] sitePlanSchema
 *   POST   /protected-sites/NAME/failover              [operator] siteFailoverAskSchema → siteFailoverViewSchema; again to go on and to see how far
 */

export const receivedSchema = z.object({ eventId: z.string(), vpgs: z.array(z.string()) });

export const incidentListSchema = z.object({ incidents: z.array(incidentSchema) });

export const approvalAnswerSchema = z.strictObject({
  decision: z.enum(["approved", "rejected"]),
  notes: z.string().max(protectionLimits.notesCharactersMax).default(""),
});

export const sitePlanSchema = z.object({
  vpgs: z.array(z.object({ name: z.string(), vpgId: idSchema, priority: z.int(), dependsOn: z.array(z.string()) })),
});

export const siteFailoverAskSchema = z.strictObject({
  requestId: idSchema,
  options: liveOptionsSchema,
  concurrency: z.int().min(1).max(limits.concurrencyMax).default(limits.concurrencyDefault),
});
export type SiteFailoverAsk = z.infer<typeof siteFailoverAskSchema>;

export const siteFailoverViewSchema = z.object({
  siteFailoverId: idSchema,
  protectedSite: z.string(),
  createdAt: z.int(),
  /** When nothing more was to be started or awaited; null while it goes on. */
  endedAt: z.int().nullable(),
  startedBy: z.string(),
  /** In the order of the plan. */
  vpgs: z.array(
    z.object({
      name: z.string(),
      vpgId: idSchema,
      priority: z.int(),
      dependsOn: z.array(z.string()),
      operationId: idSchema,
      /** blocked: something it depends on failed. */
      state: z.enum(["free", "pending", "held", "running", "up", "failed", "blocked"]),
      phase: z.string().nullable(),
      /** Why it waits or was refused. */
      detail: z.string(),
      error: z.object({ name: z.string(), message: z.string() }).nullable(),
      rtoMs: z.int().nullable(),
    }),
  ),
});
export type SiteFailoverView = z.infer<typeof siteFailoverViewSchema>;

/** What wants a person's look; `alertId` is the same as long as its cause lasts. */
export const alertSchema = z.object({
  alertId: z.string(),
  /** A heading of docs/runbook.md. */
  runbook: z.string(),
  vpg: z.string(),
  text: z.string(),
});
export type Alert = z.infer<typeof alertSchema>;

/** What a VPG's view says of its source and what it may start. */
export const suspicionSchema = z.object({
  reachability: z.enum(["reachable", "suspected", "unreachable"]),
  /** Since the first look of an unbroken chain that saw silence. */
  silentSince: z.int().nullable(),
  /** Which gateways are silent and what events said, newest last. */
  hints: z.array(z.string()),
  policy: z.string(),
  incidentId: idSchema.nullable(),
});
export type Suspicion = z.infer<typeof suspicionSchema>;
