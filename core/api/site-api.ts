import { z } from "zod";
import { idSchema, nameSchema } from "#core/ids.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import {
  checkpointSelectorSchema,
  decisionSchema,
  liveOptionsSchema,
  moveOptionsSchema,
  operationSchema,
  reverseOptionsSchema,
  testOptionsSchema,
} from "#core/protection/operation.ts";
import { peerSchema } from "#core/protection/peer.ts";
import { positionSchema } from "#core/protection/term.ts";
import { retentionSchema } from "#core/retention/policy.ts";
import { scrubSchema } from "#core/scrub/policy.ts";
import { scrubViewSchema } from "#core/scrub/view.ts";
import { triggerPolicySchema } from "#core/trigger/policy.ts";
import { syncProgressSchema } from "./gateway-api.ts";
import { alertSchema, suspicionSchema } from "./trigger-api.ts";

/**
 * What people and the CLI say to a site. All paths start with `/v1`; REF is a VPG's name or id. Role in brackets: the least that may.
 *
 *   GET    /status                                     [viewer] statusReplySchema
 *   GET    /gateways                                   [viewer] {gateways: gatewayViewSchema[]}
 *   POST   /gateways/NAME/throttle                     [operator] throttleSchema → {commandId}
 *   POST   /vpgs                                       [operator] createVpgSchema → vpgViewSchema
 *   GET    /vpgs, /vpgs/REF                            [viewer] {vpgs: vpgViewSchema[]}, vpgViewSchema
 *   GET    /vpgs/REF/definition                        [viewer] vpgDefinitionSchema
 *   POST   /vpgs/REF/definition                        [operator] editVpgSchema → editedVpgSchema
 *   POST   /vpgs/REF/pause, /vpgs/REF/resume           [operator] → vpgViewSchema
 *   DELETE /vpgs/REF                                   [operator] → {}
 *   GET    /vpgs/REF/checkpoints?from=&to=&tagged=&nearest=&lostTail=&limit=&cursor=   [viewer] checkpointListSchema (newest first)
 *   GET    /vpgs/REF/checkpoints/resolve?kind=&value=&lostTail=  [viewer] checkpointSchema
 *   POST   /vpgs/REF/checkpoints                       [operator] {tag} → {commandId}; GET /commands/<id> [viewer] → commandViewSchema
 *   GET    /vpgs/REF/failover-check                    [viewer] failoverCheckSchema
 *   GET    /vpgs/REF/move-check                        [viewer] failoverCheckSchema
 *   POST   /vpgs/REF/operations                        [operator] startOperationSchema → operationViewSchema
 *   POST   /vpgs/REF/move-resume                       [operator] → operationViewSchema
 *   POST   /vpgs/REF/sync                              [operator] startSyncSchema → operationViewSchema
 *   POST   /vpgs/REF/preseed                           [operator] preseedSchema → {commandId}, 202; DELETE → {commandIds}: those that had not ended have
 *   GET    /operations?vpg=&open=                      [viewer] {operations: operationViewSchema[]}
 *   GET    /operations/ID                              [viewer] operationViewSchema
 *   GET    /vpgs/REF/scrub                             [viewer] scrubReportSchema (core/scrub/view.ts)
 *   POST   /vpgs/REF/scrub                             [operator] → scrubReportSchema: a round begins now, here and at the source gateways
 *   POST   /operations/ID/decision                     [operator] decideSchema → {decision: decisionSchema}
 *   POST   /operations/ID/retarget                     [operator] retargetAskSchema → operationViewSchema
 *   POST   /operations/ID/retry                        [operator] → operationViewSchema
 *   GET    /reports/ID                                 [viewer] the report (core/recovery/report.ts)
 *   GET    /peers, /peers/NAME                         [viewer] {peers: peerSchema[]}, peerSchema
 *   POST   /peers                                      [operator] addPeerSchema → peerSchema; DELETE /peers/NAME → {} (core/protection/peer.ts)
 *   POST   /tokens                                     [operator] createTokenSchema → createdTokenSchema
 *   What a peer asks (PUT, POST and DELETE of /vpgs/ID/reverse-offer) is in core/protection/offer.ts.
 *   What starts failovers (events, incidents, approvals, whole sites) is in trigger-api.ts.
 *   POST   /vpgs/REF/leases/ID                         [operator] leaseSchema → leasedSchema: keeps a checkpoint while a view is read; again renews it
 *   DELETE /vpgs/REF/leases/ID                         [operator] → {}
 *   GET    /vpgs/REF/batches, /vpgs/REF/objects/KEY    [operator] as in gateway-api: reads for views
 */

export const roles = ["viewer", "operator", "approver", "gateway", "peer"] as const;
export type TokenRole = (typeof roles)[number];

export const createTokenSchema = z.strictObject({
  name: nameSchema,
  role: z.enum(roles),
  /** ARN of the IAM role or user to know by this name, at a site on AWS, which has no tokens. */
  iamRole: z.string().max(2048).optional(),
});

/** Either has a token, shown this once, or an IAM role. */
export const createdTokenSchema = z.object({
  name: z.string(),
  role: z.string(),
  gatewayId: z.string().nullable(),
  token: z.string().optional(),
  iamRole: z.string().optional(),
});

export const createVpgSchema = z.strictObject({
  name: nameSchema,
  protectedSite: nameSchema,
  /** Names of gateway tokens. */
  sourceGateway: nameSchema,
  recoveryGateway: nameSchema.nullable(),
  compute: z.enum(["gateway", "none"]),
  targetRpoMs: z.int().min(1000).default(limits.targetRpoMsDefault),
  checkpointIntervalMs: z
    .int()
    .min(limits.checkpointIntervalMsMin)
    .max(limits.checkpointIntervalMsMax)
    .default(limits.checkpointIntervalMsDefault),
  historyMs: z.int().min(60_000).default(limits.historyMsDefault),
  vms: z
    .array(
      z.strictObject({
        name: nameSchema,
        bootGroup: z.int().min(1).max(limits.bootGroupsMax).default(1),
        /** Name of the token of the gateway that has its disks, if that is not the VPG's `sourceGateway`. */
        sourceGateway: nameSchema.exactOptional(),
        volumes: z
          .array(
            z.strictObject({
              name: nameSchema,
              sizeBytes: z.int().min(512).max(limits.volumeBytesMax),
              sectorBytes: z.union([z.literal(512), z.literal(4096)]).default(512),
            }),
          )
          .min(1),
      }),
    )
    .min(1)
    .max(limits.vmsMax),
  bootDelays: z
    .array(z.strictObject({ bootGroup: z.int().min(1), delayMs: z.int().min(0).max(limits.bootDelayMsMax) }))
    .default([]),
  trigger: triggerPolicySchema.prefault({}),
  /** A new VPG without it gets the default; one that was made before the field existed keeps all checkpoints until it is edited. */
  retention: retentionSchema.exactOptional(),
  scrub: scrubSchema.exactOptional(),
});
export type CreateVpg = z.infer<typeof createVpgSchema>;

export const editVpgSchema = z.strictObject({
  definition: createVpgSchema,
  /** Of the definition that was edited; another one by now is `DefinitionChanged`. */
  revision: z.int().min(1),
  /** Only say what would change. */
  dryRun: z.boolean(),
});
export type EditVpg = z.infer<typeof editVpgSchema>;

export const vpgDefinitionSchema = z.object({ revision: z.int(), definition: createVpgSchema });

/** `revision` is the one that now is; `changes` has a line for each difference. */
export const editedVpgSchema = z.object({ revision: z.int(), changes: z.array(z.string()) });

export const checkpointSchema = z.object({
  /** `<session>-<sequence>` of its marker. */
  id: z.string(),
  /** Source time of the barrier, ms since the epoch. */
  time: z.int(),
  /** Site time until which the image is known to equal the source; age counts from here. */
  validThrough: z.int(),
  tags: z.array(z.string()),
  pins: z.int(),
  /** When resolved, of a VPG with several source gateways: up to where the image of each one's volumes goes. */
  parts: z.array(z.object({ position: positionSchema, volumes: z.array(z.int()) })).exactOptional(),
  /** When resolved: what it has, which an edit since may have changed. */
  volumes: z
    .array(
      z.object({ vmName: z.string(), name: z.string(), volume: z.int(), sizeBytes: z.int(), sectorBytes: z.int() }),
    )
    .exactOptional(),
});
export type CheckpointView = z.infer<typeof checkpointSchema>;

export const checkpointListSchema = z.object({
  checkpoints: z.array(checkpointSchema),
  cursor: z.string().optional(),
  /** Over all listed ones. */
  total: z.int(),
  oldestTime: z.int().nullable(),
  newestTime: z.int().nullable(),
});

/** A listed checkpoint's id; with `lostTail` it is one that the commit of that operation left behind. */
export const leaseSchema = z.strictObject({
  checkpoint: z.string().regex(/^\d{1,10}-\d{1,16}$/),
  lostTail: idSchema.exactOptional(),
});

/** `until` by the site's clock; to be renewed every `renewMs`. */
export const leasedSchema = z.object({ until: z.int(), renewMs: z.int().min(1) });

export const vpgViewSchema = z.object({
  vpgId: idSchema,
  name: z.string(),
  status: z.string(),
  substatus: z.string(),
  role: z.string(),
  term: z.int(),
  protectedSite: z.string(),
  /** The site known by that name. */
  peer: peerSchema.exactOptional(),
  /** Why reverse protection to it would be refused. */
  reverseProblem: z.string().exactOptional(),
  sourceGateway: z.string(),
  recoveryGateway: z.string().nullable(),
  compute: z.string(),
  targetRpoMs: z.int(),
  checkpointIntervalMs: z.int(),
  /** Now minus the newest valid checkpoint's validThrough, by the site's clock; null before the first checkpoint, and in every role but Journal. */
  rpoMs: z.int().nullable(),
  historyMs: z.int(),
  /** From the oldest listed checkpoint to the end of the newest one's validity. */
  historyHeldMs: z.int(),
  checkpoints: z.int(),
  /** Beside those: in the lost tails of committed failovers. */
  lostTailCheckpoints: z.int().exactOptional(),
  newestCheckpoint: checkpointSchema.nullable(),
  oldestCheckpoint: checkpointSchema.nullable(),
  operationId: idSchema.nullable(),
  /** Of a delta-sync; null from older sites. */
  syncOperationId: idSchema.nullable().default(null),
  openTests: z.array(idSchema),
  /** Rolled back operations that left the source's VMs off, because it was silent; absent when there are none. */
  powerOnDue: z.array(idSchema).exactOptional(),
  suspicion: suspicionSchema,
  /** Shipped and not yet acknowledged, by the last heartbeat. */
  backlogBytes: z.int(),
  lagMs: z.int(),
  mode: z.string(),
  sync: syncProgressSchema.nullable(),
  /** What the source's last sync compared and shipped; null before one ended, and from a site of before. */
  lastSync: syncProgressSchema.nullable().default(null),
  writtenBytes: z.int(),
  shippedBytes: z.int(),
  /** Valid journal: batches, and packs in place of others. */
  journalBytes: z.int(),
  /** There when the VPG has a retention policy. */
  retention: z
    .object({
      tiers: z.array(z.object({ everyMs: z.int(), forMs: z.int() })),
      taggedMs: z.int(),
      journalLimit: z.object({ bytes: z.int(), policy: z.string() }).nullable(),
      /** The journal has reached its limit and is paused. */
      journalFull: z.boolean(),
      /** How far the limit's policy has made history coarser or shorter; 0 as declared. */
      pressure: z.int(),
      /** Checkpoints at or before it were looked at. */
      thinnedThrough: z.string().nullable(),
      /** Why it does not run now; null when it does. */
      waits: z.string().nullable(),
      ranAt: z.int().nullable(),
      manifest: z.int(),
      layers: z.int(),
      packs: z.int(),
      collectedAt: z.int().nullable(),
      /** As the collector saw them last: needed; replaced and not old enough; left by runs that were killed. */
      liveBytes: z.int(),
      deadBytes: z.int(),
      leakedBytes: z.int(),
    })
    .exactOptional(),
  /** How far the journal was read back, and the source disks were compared with it; absent from older sites. */
  scrub: scrubViewSchema.exactOptional(),
  /** There with several source gateways: each one's own standing, the coordinator first; a checkpoint needs all of them. */
  sources: z
    .array(
      z.object({
        gateway: z.string(),
        connected: z.boolean(),
        mode: z.string(),
        session: z.int(),
        backlogBytes: z.int(),
        lagMs: z.int(),
        sync: syncProgressSchema.nullable(),
      }),
    )
    .exactOptional(),
  /** Why the newest barrier of several source gateways made no checkpoint. */
  barrierProblem: z.string().exactOptional(),
  /** What the source gateways need before they work by the edited definition; until then new checkpoints have the volumes of before. */
  configurationProblem: z.string().exactOptional(),
  /** A live operation was open when the site's table was lost: it holds the VPG until a person ends it, and this says how. */
  operationForgotten: z.string().exactOptional(),
  /** A live operation failed with its volumes attached: it holds the VPG in the same way. */
  operationFailed: z.string().exactOptional(),
  /** Source gateways keep its disks closed for what this site doesn't know, or no more; and what to do. */
  sourceClosed: z.string().exactOptional(),
  /** While reverse protection makes its journal here: what its gateways have not done or failed at, and which old disks are left out. */
  reverseWaits: z.string().exactOptional(),
  /** What a source gateway may ship at most now, bytes a second: the least, where there are several. */
  throttleBytesPerSecond: z.int().exactOptional(),
  /** Of its definition; absent from older sites. */
  revision: z.int().exactOptional(),
  vms: z.array(
    z.object({
      name: z.string(),
      bootGroup: z.int(),
      /** If it is not the VPG's own. */
      sourceGateway: z.string().exactOptional(),
      volumes: z.array(z.object({ volume: z.int(), name: z.string(), sizeBytes: z.int() })),
    }),
  ),
});
export type VpgView = z.infer<typeof vpgViewSchema>;

export const gatewayViewSchema = z.object({
  gatewayId: idSchema,
  name: z.string(),
  lastSeenAt: z.int().nullable(),
  connected: z.boolean(),
  /** Its clock minus ours at the last heartbeat, ms. */
  skewMs: z.int().nullable(),
  version: z.string().nullable(),
});
export type GatewayView = z.infer<typeof gatewayViewSchema>;

/** An operation as people see it: everything but its tokens. */
export const operationViewSchema = operationSchema
  .omit({ tokens: true })
  .extend({ decision: decisionSchema.nullable(), executionStatus: z.string().nullable() });
export type OperationView = z.infer<typeof operationViewSchema>;

export const startOperationSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("failover-live"), options: liveOptionsSchema, requestId: idSchema }),
  z.strictObject({ kind: z.literal("failover-test"), options: testOptionsSchema, requestId: idSchema }),
  z.strictObject({ kind: z.literal("move"), options: moveOptionsSchema, requestId: idSchema }),
  z.strictObject({ kind: z.literal("reverse-protection"), options: reverseOptionsSchema, requestId: idSchema }),
]);
/** A delta-sync of everything: every chunk becomes a suspect. */
export const startSyncSchema = z.strictObject({ requestId: idSchema });

export type StartOperation = z.infer<typeof startOperationSchema>;

export const decideSchema = z.discriminatedUnion("decision", [
  z.strictObject({ decision: z.literal("commit"), reverseProtection: z.boolean().exactOptional() }),
  z.strictObject({ decision: z.literal("rollback") }),
  z.strictObject({
    decision: z.literal("stop"),
    success: z.boolean(),
    notes: z.string().max(limits.notesCharactersMax),
  }),
]);

/** Another checkpoint before the commit; the same request again changes nothing. */
export const retargetAskSchema = z.strictObject({ checkpoint: checkpointSelectorSchema, requestId: idSchema });
export type RetargetAsk = z.infer<typeof retargetAskSchema>;

export const throttleSchema = z.strictObject({ bytesPerSecond: z.int().min(limits.throttleRateMin).nullable() });

/** Copies of disks at the recovery gateway's machine, before the first session; the same request again is the same preseed. */
export const preseedSchema = z.strictObject({
  requestId: idSchema,
  volumes: z
    .array(
      z.strictObject({
        vmName: nameSchema,
        name: nameSchema,
        /** Inside the folder that the gateway's configuration names for them. */
        path: z.string().min(1).max(limits.preseedPathCharactersMax),
      }),
    )
    .min(1)
    .max(limits.volumesMax),
});
export type PreseedAsk = z.infer<typeof preseedSchema>;

export const commandViewSchema = z.object({
  commandId: z.string(),
  state: z.enum(["pending", "running", "done", "failed", "expired"]),
  progress: z.object({ done: z.int(), total: z.int(), unit: z.string() }).nullable(),
  result: z.record(z.string(), z.unknown()).nullable(),
  error: z.object({ name: z.string(), message: z.string() }).nullable(),
});

export const failoverCheckSchema = z.object({
  ready: z.boolean(),
  /** One line each: what would happen, what is missing and what to do about it. */
  items: z.array(z.object({ what: z.string(), state: z.enum(["ok", "warning", "blocked"]), detail: z.string() })),
  checkpoint: checkpointSchema.nullable(),
});

export const statusReplySchema = z.object({
  site: z.object({ siteId: idSchema, name: z.string(), time: z.int(), version: z.string() }),
  vpgs: z.array(vpgViewSchema),
  gateways: z.array(gatewayViewSchema),
  operations: z.array(operationViewSchema),
  alerts: z.array(alertSchema),
  peers: z.array(peerSchema),
});
export type StatusReply = z.infer<typeof statusReplySchema>;
