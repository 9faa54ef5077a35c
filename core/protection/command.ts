import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { protectionLimits as limits } from "./limits.ts";
import { positionSchema } from "./term.ts";

const namedVolume = z.strictObject({
  volume: z.int().min(1).max(65_535),
  vmName: z.string(),
  name: z.string(),
  sizeBytes: z.int(),
  sectorBytes: z.union([z.literal(512), z.literal(4096)]),
});
export type NamedVolume = z.infer<typeof namedVolume>;

/** The lower of what was ordered and what the schedule says of this hour; null for no limit. Not told by older gateways. */
export const throttledSchema = z.object({ nowBytesPerSecond: z.int().min(1).nullable().exactOptional() });

const recoveredVolume = namedVolume.extend({
  /** There with several source gateways: the position of the volume's own one in the checkpoint. */
  upTo: positionSchema.exactOptional(),
});

const operationBase = { operationId: idSchema, vpgId: idSchema, vpgName: z.string() };
const mode = z.enum(["live", "test"]);

/**
 * What a site asks of a gateway. Hook command lines are never sent: a gateway runs only the hooks of its own configuration file.
 * Every body is safe to repeat; a repeated one answers with the same result.
 */
export const commandBodySchema = z.discriminatedUnion("kind", [
  /** Recovery side: open views as of the checkpoint with scratch over them, and export them. Result: {exports: {volume: uri}}. */
  z.strictObject({
    kind: z.literal("attach-volumes"),
    ...operationBase,
    mode,
    /** The checkpoint: everything at or before this position is in the image of a volume that has no position of its own. */
    upTo: positionSchema,
    checkpointId: z.string(),
    volumes: z.array(recoveredVolume).max(limits.volumesMax),
  }),
  /** Runs the boot hook of each VM. Result: {booted: [names], withoutHook: [names]}. */
  z.strictObject({ kind: z.literal("boot-vms"), ...operationBase, mode, vms: z.array(z.string()) }),
  /** Runs the stop hook of each recovered VM and confirms by the status hook where there is one. */
  z.strictObject({ kind: z.literal("stop-vms"), ...operationBase, mode, vms: z.array(z.string()) }),
  /** Ends the exports. The scratch stays for `keepScratchMs`, 0 removes it at once. */
  z.strictObject({ kind: z.literal("detach-volumes"), ...operationBase, keepScratchMs: z.int().min(0) }),
  /** Hydrates every view of the operation into its local disk while guests run. Result: {bytes}. */
  z.strictObject({ kind: z.literal("promote-volumes"), ...operationBase }),
  /** Source side: shut the VMs down. `graceful` fails when a VM has no hook or does not stop within the grace; `force` then cuts it off. */
  z.strictObject({
    kind: z.literal("shutdown-source"),
    ...operationBase,
    policy: z.enum(["graceful", "force"]),
    graceMs: z.int().min(0),
    vms: z.array(z.string()),
  }),
  /** Source side, at rollback: power on what shutdown-source of this operation stopped. */
  z.strictObject({ kind: z.literal("power-on-source"), ...operationBase, vms: z.array(z.string()) }),
  /**
   * Reverse protection, at the gateway with the old disks, which must be closed: brings them by the hash sync into its own site's
   * journal, in a session of `term` that never makes a checkpoint. Volumes that it has no disk of that size for are left out.
   * Result: `seedResultSchema`.
   */
  z.strictObject({
    kind: z.literal("seed-volumes"),
    ...operationBase,
    term: z.int().min(1),
    volumes: z.array(namedVolume).min(1).max(limits.volumesMax),
  }),
  /**
   * Recovery side, before the VPG's first session: brings copies of its disks, files by path, by the hash sync into the site's journal,
   * in a session of `term` that never makes a checkpoint. Throws `ProtectionBegan` once a source gateway has one. Result as of seed-volumes.
   */
  z.strictObject({
    kind: z.literal("preseed-volumes"),
    vpgId: idSchema,
    vpgName: z.string(),
    term: z.int().min(1),
    volumes: z
      .array(namedVolume.extend({ path: z.string().min(1).max(limits.preseedPathCharactersMax) }))
      .min(1)
      .max(limits.volumesMax),
  }),
  /**
   * Reverse protection, at the gateway with the promoted disks of operation `promotedBy`: begins to capture them, while guests use
   * them, in a session of `term` at the site that its [source] section names. Done when that session is open; its sync goes on.
   * Result: {session}.
   */
  z.strictObject({
    kind: z.literal("protect-volumes"),
    ...operationBase,
    term: z.int().min(1),
    promotedBy: idSchema,
    volumes: z.array(namedVolume).min(1).max(limits.volumesMax),
  }),
  /**
   * Source side: hash the suspects of the volumes that are in a sync, page by page, and upload the hashes; `force` makes every chunk
   * a suspect first. Result: `hashResultSchema`.
   */
  z.strictObject({ kind: z.literal("hash-volumes"), ...operationBase, force: z.boolean() }),
  /** Source side: fetch the want-lists of what was hashed, drop the suspects that aren't wanted, and end the sync. Result: `shipResultSchema`. */
  z.strictObject({ kind: z.literal("ship-wanted"), ...operationBase }),
  /**
   * Source side: no write is taken any more, also after a restart. `final`: then everything written is shipped and a FINAL ends the
   * session. `others`: FINALs of the VPG's other source gateways, which the coordinator names in a last barrier. `term`: closed for
   * good, until a later term opens it. Result: closedResultSchema.
   */
  z.strictObject({
    kind: z.literal("close-volumes"),
    ...operationBase,
    term: z.int().min(1).nullable(),
    final: z.boolean(),
    others: z.array(positionSchema).max(limits.sourceGatewaysMax).exactOptional(),
  }),
  /** Source side, at rollback: undo this operation's close. Done once writes are taken again, in a new session. */
  z.strictObject({ kind: z.literal("open-volumes"), ...operationBase }),
  /** Source side: ship no faster than this, also after a restart; null ends it. What the configuration's schedule says stands. Result: `throttledSchema`. */
  z.strictObject({ kind: z.literal("set-throttle"), bytesPerSecond: z.int().min(limits.throttleRateMin).nullable() }),
  /** Source side, of closed volumes: compare the disks with the image at the FINAL by hashes. Result: verifyResultSchema. */
  z.strictObject({
    kind: z.literal("verify-volumes"),
    ...operationBase,
    upTo: positionSchema,
    volumes: z.array(namedVolume).min(1).max(limits.volumesMax),
  }),
  /** Source side, after a commit that was asked to: runs the remove hook of each VM that has one. Result: {removed, withoutHook}. */
  z.strictObject({ kind: z.literal("remove-source"), ...operationBase, vms: z.array(z.string()) }),
  /** Source side: begin to compare the disks with the journal now, from the first chunk. Done once it is noted. Result: {}. */
  z.strictObject({ kind: z.literal("scrub-volumes"), vpgId: idSchema }),
  /** Source side: put a tagged marker into the stream now. Result: {checkpointId}. */
  z.strictObject({
    kind: z.literal("tag-checkpoint"),
    vpgId: idSchema,
    tag: z.string().min(1).max(limits.tagBytesMax),
  }),
]);
export type CommandBody = z.infer<typeof commandBodySchema>;

/**
 * What may go on for days and nobody's recovery waits for: it takes no place from other commands, in a reply or at a gateway, and is in
 * every reply until it has ended, so that a gateway stops what it is not asked for any more.
 */
export const unhurriedKinds: ReadonlySet<CommandBody["kind"]> = new Set(["seed-volumes", "preseed-volumes"]);

/** What a gateway answers to `hash-volumes`: pages whose hashes are at the site now, and bytes that it read for them. */
export const hashResultSchema = z.looseObject({ pages: z.int().min(0), hashedBytes: z.int().min(0) });
export type HashResult = z.infer<typeof hashResultSchema>;

/** What a gateway answers to `ship-wanted`, when the sync has ended and its end is durable at the site. */
export const shipResultSchema = z.looseObject({
  pages: z.int().min(0),
  pagesAlone: z.int().min(0),
  /** Of the session, when no volume of it was in a sync any more. */
  end: positionSchema,
  differingBytes: z.int().min(0),
  shippedBytes: z.int().min(0),
});
export type ShipResult = z.infer<typeof shipResultSchema>;

/** How a source gateway's session ended in a move. */
export const finalSchema = z.strictObject({
  session: z.int().min(1),
  /** Of the FINAL record, the last of its session. */
  sequence: z.int().min(1),
  /** The batch that ends with it, and that batch's hash in hex: the head of the session's chain. */
  batch: z.int().min(0),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  /** The checkpoint directly before it; null where another gateway's barrier is the VPG's. */
  checkpoint: positionSchema.nullable(),
});
export type Final = z.infer<typeof finalSchema>;

/** Result of verify-volumes: bytes read from the disks, and of the chunks that were not as the journal has them. */
export const verifyResultSchema = z.looseObject({ hashedBytes: z.int().min(0), differingBytes: z.int().min(0) });

const leftOutSchema = z.strictObject({ volume: z.int().min(1), why: z.string() });
/** A volume that a gateway has no disk for to seed it with, and what it has instead. */
export type LeftOut = z.infer<typeof leftOutSchema>;

/** Result of seed-volumes and preseed-volumes. */
export const seedResultSchema = z.looseObject({
  /** Read from the disks and hashed. */
  hashedBytes: z.int().min(0),
  /** Of the chunks that differed from what the journal held. */
  differingBytes: z.int().min(0),
  shippedBytes: z.int().min(0),
  /** Of the chunks that could not be read, which count as zeros. */
  unreadableBytes: z.int().min(0).default(0),
  leftOut: z.array(leftOutSchema).default([]),
});

/** Result of close-volumes; `final` is null where none was asked for. */
export const closedResultSchema = z.strictObject({ final: finalSchema.nullable() });

export const commandSchema = z.strictObject({
  /** `<operationId>.<step>` or `<requestId>.tag`: the same ask has the same id, so asking twice is asking once. */
  commandId: z.string().regex(/^[a-z0-9.-]{1,120}$/),
  createdAt: z.int(),
  expiresAt: z.int(),
  body: commandBodySchema,
});
export type Command = z.infer<typeof commandSchema>;

/** A gateway's answer; "running" is a heartbeat with progress that keeps the waiting step alive. */
export const commandReportSchema = z.discriminatedUnion("state", [
  z.strictObject({
    state: z.literal("running"),
    progress: z.strictObject({ done: z.int().min(0), total: z.int().min(0), unit: z.string().max(20) }),
  }),
  z.strictObject({ state: z.literal("done"), result: z.record(z.string(), z.unknown()) }),
  z.strictObject({
    state: z.literal("failed"),
    error: z.strictObject({ name: z.string().max(100), message: z.string().max(4000) }),
  }),
]);
export type CommandReport = z.infer<typeof commandReportSchema>;
