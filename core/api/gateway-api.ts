import { z } from "zod";
import { idSchema, nameSchema } from "#core/ids.ts";
import { commandSchema } from "#core/protection/command.ts";
import { volumeSchema } from "#core/protection/definition.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { positionSchema } from "#core/protection/term.ts";
import { diskScrubSchema } from "#core/scrub/disk-standing.ts";

/**
 * What a gateway says to a site, over HTTP with its own bearer token (embedded) or signature (AWS). Errors come back as
 * `{error: {name, message, details}}` with the status of core/errors.ts. All paths start with `/gateway/v1`.
 *
 *   POST /heartbeat                                    heartbeatSchema → heartbeatReplySchema
 *   POST /commands/<commandId>                         commandReportSchema → {}
 *   POST /sessions                                     openSessionSchema → openSessionReplySchema
 *   PUT  /batches/<vpg>/<term>/<session>/<k>           the batch object's bytes → batchReplySchema
 *                                                      header x-farshore-age-ms: ms from the batch's last record to this sending
 *   POST /hashes                                       hashesSchema → octets: 32 bytes of SHA-256 a chunk, or 16 a block of 4 KiB, in the order asked; ff bytes for what the journal is too damaged to say
 *   PUT  /syncs/<operation>/<session>/<volume>/<page>  the hashes of a page (core/sync/page-object.ts) → {}
 *   GET  /syncs/<operation>/<session>/<volume>/<page>  → octets: the page's want-list; NotFound while there is none
 *   GET  /vpgs/<vpg>                                   → {definition: definitionSchema}
 *   GET  /vpgs/<vpg>/role                              → {role}: what the site is to it, or "deleted", as table and bucket agree
 *   GET  /vpgs/<vpg>/batches?session=&sequence=&cursor=&manifest=&checkpoint=   → batchListSchema: batches at or before the position, for views;
 *                                                        manifest: 0 for the newest, then the number that the first page came with
 *   GET  /vpgs/<vpg>/objects/<key>?offset=&length=     → octets of a journal object of that VPG
 */

/** How far a sync is; `etaMs` is null while nothing can be said. */
export const syncProgressSchema = z.strictObject({
  comparedChunks: z.int(),
  differingChunks: z.int(),
  totalChunks: z.int(),
  shippedBytes: z.int(),
  etaMs: z.int().nullable(),
});

/** Where a VPG's replication stands, as its gateway knows it. */
export const streamStateSchema = z.strictObject({
  vpgId: idSchema,
  term: z.int().min(0),
  /** 0 while no session is open. */
  session: z.int().min(0),
  /** Of the newest record appended. */
  lastSequence: z.int().min(0),
  /** Every record up to here is acknowledged by the site. */
  acknowledgedSequence: z.int().min(0),
  mode: z.enum([
    "replicating",
    "initial-sync",
    "delta-sync",
    "bitmap-sync",
    "paused",
    "dirty",
    "closed",
    "fenced",
    "no-session",
  ]),
  /** Nothing appended but unacknowledged and nothing in flight on the disks: extends the newest checkpoint (design 6). */
  idle: z.boolean(),
  backlogBytes: z.int().min(0),
  /** Age of the oldest unacknowledged record; 0 when there is none. */
  lagMs: z.int().min(0),
  sync: syncProgressSchema.nullable(),
  /** Of the sync that ended last in this life of the gateway; absent before one did, and from older gateways. */
  lastSync: syncProgressSchema.exactOptional(),
  /** A sync of more than a few pages has begun, and waits for a short while for a delta-sync by this request's id. */
  syncRequestId: idSchema.exactOptional(),
  /** Guest writes and bytes since the session began. */
  writes: z.int().min(0),
  writtenBytes: z.int().min(0),
  shippedBytes: z.int().min(0),
  /** R11, of a coordinator: why its last barrier made no checkpoint; null when it did. */
  barrierProblem: z.string().max(500).nullable().exactOptional(),
  /** What it may ship at most now, bytes a second; absent for no limit. */
  throttleBytesPerSecond: z.int().min(1).exactOptional(),
  /** What is in the way of the edited definition that the site told of, and what to do about it. */
  configurationProblem: z.string().max(500).exactOptional(),
  /** It captures what a failover or a move left on disks, whose sizes are what they are; absent for disks of its configuration. */
  recoveredDisks: z.literal(true).exactOptional(),
  /** The operation that closed the volumes; absent while they are open. */
  closedBy: idSchema.exactOptional(),
  /** The VPG as whose disks it closed them; absent where that is this one. */
  closedFor: idSchema.exactOptional(),
  /** How far the disks were compared with the journal; absent from older gateways. */
  scrub: diskScrubSchema.exactOptional(),
});
export type StreamState = z.infer<typeof streamStateSchema>;

const vmNames = z.array(nameSchema).max(limits.hookVmsMax);
/** What a gateway has for a failover: hooks, and room for recovered disks. */
export const gatewayMeansSchema = z.strictObject({
  /** VMs that have the hook; null when they are too many to tell. */
  hooks: z
    .strictObject({
      ...{ boot: vmNames, shutdown: vmNames, kill: vmNames, status: vmNames },
      /** Absent from older gateways. */
      remove: vmNames.exactOptional(),
    })
    .nullable(),
  /** Bytes that the recovery directory's file system has left; null without such a directory, or when it can't be asked. */
  freeBytes: z.int().min(0).nullable(),
});
export type GatewayMeans = z.infer<typeof gatewayMeansSchema>;

export const heartbeatSchema = z.strictObject({
  version: z.string().max(40),
  /** The gateway's clock when the state below was sampled; shows the skew, decides nothing. */
  sampledAt: z.int(),
  /**
   * Not after the site's time when the state below was sampled: `siteTime` of the last answer, and what passed here since it
   * came. Null before the first answer; absent from older gateways.
   */
  siteTime: z.int().nullable().optional(),
  /** One life of the process. */
  processId: idSchema,
  streams: z.array(streamStateSchema).max(100),
  /** Operations whose volumes this gateway exports. */
  attachedOperations: z.array(idSchema).max(100),
  /** What a failover would find at this gateway; absent from older ones. */
  means: gatewayMeansSchema.optional(),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;

export const heartbeatReplySchema = z.object({
  siteTime: z.int(),
  nextHeartbeatMs: z.int(),
  commands: z.array(commandSchema),
  /** What the site holds of each stream in the request: fenced means stop; paused means track dirty only. */
  streams: z.array(
    z.object({
      ...{ vpgId: idSchema, fenced: z.boolean(), paused: z.boolean(), deleted: z.boolean(), term: z.int() },
      /** What a session opened now would work by; another one than the open session's means that the VPG was edited. */
      configRevision: z.int().exactOptional(),
    }),
  ),
});
export type HeartbeatReply = z.infer<typeof heartbeatReplySchema>;

export const openSessionSchema = z.strictObject({
  vpgId: idSchema,
  /**
   * "seed": the gateway's old disks (R16), or copies of disks before the first session of a source gateway (a preseed), come into
   * its own site's journal. All volumes of the session are unsynced to its end, and
   * it makes no checkpoint; its ordinals are remembered apart from those of captures. Absent: a source captures what guests write.
   */
  purpose: z.enum(["capture", "seed"]).exactOptional(),
  /** Durable at the gateway before it asks; the same nonce gets the same session again. */
  nonce: idSchema,
  /** The last session ordinal this gateway's state directory knows for the VPG at this site, for this purpose; 0 for none. */
  lastSession: z.int().min(0),
  /** The last acknowledged batch it knows in that session, -1 for none. A site that shows less has regressed. */
  acknowledgedBatch: z.int().min(-1),
  /** The last session ended with a close record, acknowledged, and nothing wrote the disks since. */
  cleanlyClosed: z.boolean(),
  /** After `RecoverySiteRegressed` the gateway asks again with this set; the answer is a session with a full hash sync. */
  acceptRegression: z.boolean(),
  volumes: z
    .array(z.strictObject({ vmName: nameSchema, name: nameSchema, sizeBytes: z.int(), sectorBytes: z.int() }))
    .min(1)
    .max(400),
});
export type OpenSession = z.infer<typeof openSessionSchema>;

export const openSessionReplySchema = z.object({
  term: z.int(),
  session: z.int(),
  /** True: the volumes are as the journal has them; no sync. */
  continues: z.boolean(),
  /** Why a sync is needed: label of the same code path. */
  sync: z.enum(["none", "initial", "delta"]),
  /** Everything at or before this position, whichever gateway wrote it, is what hashes are compared with; session 0: nothing is there. */
  journalEnd: positionSchema,
  configRevision: z.int(),
  checkpointIntervalMs: z.int(),
  volumes: z.array(z.object({ vmName: z.string(), ...volumeSchema.shape })),
  /** The URL that this session's batches go to, where it isn't the one that the gateway calls: on AWS. */
  batchesUrl: z.url({ protocol: /^https?$/ }).optional(),
  /** R11, there when the VPG has several source gateways: which of them the caller is, and all, the coordinator first. */
  barrier: z
    .object({ gatewayId: idSchema, gateways: z.array(z.object({ gatewayId: idSchema, name: z.string() })) })
    .exactOptional(),
});
export type OpenSessionReply = z.infer<typeof openSessionReplySchema>;

export const batchReplySchema = z.object({
  batch: z.int(),
  sha256: z.string(),
  duplicate: z.boolean(),
});
export type BatchReply = z.infer<typeof batchReplySchema>;

/** Hashes of the volume's image as of `upTo`. Either all 512 KiB chunks of one page, or the 64 KiB sub-chunks of some of them. */
export const hashesSchema = z.strictObject({
  vpgId: idSchema,
  volume: z.int().min(1).max(65_535),
  page: z.int().min(0).max(65_535),
  upTo: positionSchema,
  /** Of the volume in the asking session, which an edit may have left behind; absent: as it is defined today. */
  sizeBytes: z.int().min(512).max(limits.volumeBytesMax).optional(),
  /** Chunk numbers inside the page whose blocks' hashes are wanted; absent: all chunks' hashes. */
  blocksOf: z.array(z.int().min(0).max(2047)).min(1).max(64).optional(),
});
export type HashesRequest = z.infer<typeof hashesSchema>;

/** What a view needs to know of a batch before it reads its header. */
export const batchSummarySchema = z.object({
  term: z.int(),
  session: z.int(),
  batch: z.int(),
  firstSequence: z.int(),
  lastSequence: z.int(),
  /** Length of the object. */
  bytes: z.int(),
  /** [volume, [pages it touches, ascending]] */
  touched: z.array(z.tuple([z.int(), z.array(z.int())])),
});
export type BatchSummary = z.infer<typeof batchSummarySchema>;

export const batchListSchema = z.object({
  batches: z.array(batchSummarySchema),
  cursor: z.string().optional(),
  /** Batches that this manifest's layers stand for are left out; there when a manifest was asked for and there is one. */
  manifest: z.int().min(1).optional(),
});
