import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { finalSchema } from "./command.ts";
import { protectionLimits as limits } from "./limits.ts";
import { positionSchema } from "./term.ts";

export const checkpointSelectorSchema = z.union([
  z.strictObject({ kind: z.literal("latest") }),
  z.strictObject({ kind: z.literal("id"), id: z.string().max(40) }),
  /** The greatest checkpoint at or before this instant (ms since the epoch, source time). */
  z.strictObject({ kind: z.literal("time"), time: z.int() }),
  z.strictObject({ kind: z.literal("tag"), tag: z.string().min(1).max(limits.tagBytesMax) }),
]);
export type CheckpointSelector = z.infer<typeof checkpointSelectorSchema>;

/** `none` waits for a person (at most 30 days, with reminders); the others act after `afterMs`, 0 = at once. */
export const commitPolicySchema = z.discriminatedUnion("action", [
  z.strictObject({ action: z.literal("none") }),
  z.strictObject({ action: z.enum(["commit", "rollback"]), afterMs: z.int().min(0).max(limits.commitWaitMsMax) }),
]);

export const liveOptionsSchema = z.strictObject({
  checkpoint: checkpointSelectorSchema,
  shutdown: z.strictObject({
    policy: z.enum(["none", "graceful", "force"]),
    graceMs: z.int().min(0).max(limits.shutdownGraceMsMax),
  }),
  commitPolicy: commitPolicySchema,
  /** Begin reverse protection as soon as the committed failover has ended; absent: no. */
  reverseProtection: z.boolean().exactOptional(),
});
export type LiveOptions = z.infer<typeof liveOptionsSchema>;

/** Whether a move's `remove` hooks would take away the old disks that reverse protection is to start from. */
export const removesSeeds = (options: {
  readonly source: "keep" | "remove";
  readonly reverseProtection?: boolean;
}): boolean => options.source === "remove" && options.reverseProtection === true;

export const removesSeedsText =
  "a move that removes its source takes away the old disks that reverse protection starts from; keep the source, or start reverse protection by itself after the commit";

/** The newest instant there is, after a graceful shutdown: nothing else is a move. */
export const moveOptionsSchema = z
  .strictObject({
    graceMs: z.int().min(0).max(limits.shutdownGraceMsMax),
    commitPolicy: commitPolicySchema,
    /** What becomes of the source's VMs after the commit: `remove` runs their own `remove` hooks, nothing else is ever removed. */
    source: z.enum(["keep", "remove"]),
    /** Compare the closed disks with the checkpoint, hash by hash, before anything is brought up. */
    verify: z.boolean(),
    /** As of a failover; never with `source: "remove"`. */
    reverseProtection: z.boolean().exactOptional(),
  })
  .refine((options) => !removesSeeds(options), { error: removesSeedsText, path: ["reverseProtection"] });
export type MoveOptions = z.infer<typeof moveOptionsSchema>;

export const testOptionsSchema = z.strictObject({ checkpoint: checkpointSelectorSchema });
export type TestOptions = z.infer<typeof testOptionsSchema>;

/** `force`: a person asked, and every chunk becomes a suspect; otherwise a session that has suspects brought it about. */
export const syncOptionsSchema = z.strictObject({ force: z.boolean() });
export type SyncOptions = z.infer<typeof syncOptionsSchema>;

export const reverseOptionsSchema = z.strictObject({
  /** The peer's gateway is gone: nothing is closed there, and its disks are no seed. */
  gatewayLost: z.boolean(),
  /** The peer is lost for good between the start of the offered term and its first checkpoint: end that term alone. */
  force: z.boolean(),
});
export type ReverseOptions = z.infer<typeof reverseOptionsSchema>;

export const operationKinds = ["failover-live", "failover-test", "move", "delta-sync", "reverse-protection"] as const;
export type OperationKind = (typeof operationKinds)[number];

/** Brings the VPG up to stay: it holds the VPG until it was committed or rolled back. */
export const isLive = ({ kind }: { readonly kind: OperationKind }): boolean =>
  kind === "failover-live" || kind === "move";

export const phases = [
  "Starting",
  "ShuttingDownSource",
  /** Of a move: until every source gateway has given its FINAL; until it is proved that nothing lies behind them. */
  "ClosingVolumes",
  "ProvingFinal",
  "AttachingVolumes",
  "Booting",
  "BeforeCommit",
  /** On the way from one checkpoint to another; a step of it failed: a person retargets again or rolls back. */
  "Retargeting",
  "RetargetFailed",
  "Committing",
  "Promoting",
  "RollingBack",
  "TestRunning",
  "TestStopping",
  "HashingVolumes",
  "ComparingPages",
  "ShippingWanted",
  "VerifyingSync",
  /** Reverse protection: until the peer's gateways are closed and the offered term begins; from then on; taking the offer back. */
  "Offering",
  "Protecting",
  "Withdrawing",
  /** Ended: a live failover that was committed, a test that was stopped, or a sync whose first checkpoint is listed. */
  "Completed",
  "RolledBack",
  "Failed",
] as const;
export type Phase = (typeof phases)[number];

/** The step of a move's undo after which its source serves again. */
export const openVolumesStep = "open-volumes";

export const endedPhases: readonly Phase[] = ["Completed", "RolledBack", "Failed"];

export const stepSchema = z.strictObject({
  state: z.enum(["running", "done", "failed", "skipped"]),
  startedAt: z.int(),
  endedAt: z.int().nullable(),
  /** One sentence for the report. */
  result: z.string(),
  error: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
});
export type Step = z.infer<typeof stepSchema>;

/** The decision item (R15): create-if-absent decides; later askers get `AlreadyDecided` with what was. */
export const decisionSchema = z.strictObject({
  decision: z.enum(["commit", "rollback", "stop"]),
  by: z.string(),
  at: z.int(),
  /** Of a test that was stopped: did it succeed? */
  success: z.boolean().nullable(),
  notes: z.string().max(limits.notesCharactersMax),
  /** With a commit: reverse protection begins when the operation has ended, whatever its options say. */
  reverseProtection: z.boolean().exactOptional(),
});
export type Decision = z.infer<typeof decisionSchema>;

/** How much acknowledged source work a live failover left behind. */
export const lostTailSchema = z.strictObject({
  /** "exact": the source told its last position; "at-least": only what the site saw beyond the checkpoint. */
  certainty: z.enum(["exact", "at-least"]),
  /** Milliseconds between the checkpoint and the last acknowledged write known of. */
  ms: z.int().min(0),
  writes: z.int().min(0),
  bytes: z.int().min(0),
});
export type LostTail = z.infer<typeof lostTailSchema>;

/** What an operation's sync did, over all gateways that took part. */
export const syncFiguresSchema = z.strictObject({
  /** Read from the source's disks and hashed for the comparison of pages. */
  hashedBytes: z.int().min(0),
  /** Of the chunks whose hashes differed. */
  differingBytes: z.int().min(0),
  /** Payload that the volumes' syncs appended. */
  shippedBytes: z.int().min(0),
  /** Pages that the machine compared, and those that the gateway compared by itself. */
  pages: z.int().min(0),
  pagesAlone: z.int().min(0),
  /** Where each source gateway's sync was over; the first checkpoint stands there or behind it. */
  ends: z.array(positionSchema),
});
export type SyncFigures = z.infer<typeof syncFiguresSchema>;

export const syncedBytesSchema = z.strictObject({
  /** Read from the disks and hashed. */
  hashedBytes: z.int().min(0),
  /** Of the chunks that differed from what the journal held. */
  differingBytes: z.int().min(0),
  shippedBytes: z.int().min(0),
});
export type SyncedBytes = z.infer<typeof syncedBytesSchema>;

/** What reverse protection read and sent: the peer's old disks into its journal, then the running disks on top. Null: not known. */
export const reverseFiguresSchema = z.strictObject({
  seed: syncedBytesSchema.nullable(),
  sync: syncedBytesSchema.nullable(),
});
export type ReverseFigures = z.infer<typeof reverseFiguresSchema>;

/** What syncs of an operation read, found and sent, a line for each under its name; none before the first has. */
export function syncedLines({
  syncFigures,
  reverseFigures,
}: {
  readonly syncFigures: SyncFigures | null;
  readonly reverseFigures: ReverseFigures | null;
}): readonly (readonly [name: string, bytes: SyncedBytes])[] {
  const lines = [
    ["Sync", syncFigures],
    ["Old disks", reverseFigures?.seed ?? null],
    ["Running disks", reverseFigures?.sync ?? null],
  ] as const;
  return lines.flatMap(([name, bytes]) => (bytes === null ? [] : [[name, bytes]]));
}

/** The incident that started an operation. */
export const operationIncidentSchema = z.strictObject({
  incidentId: idSchema,
  reason: z.string(),
  evidence: z.array(z.string()),
  /** Who approved it; null when nobody had to, absent in records that are older than the field. */
  approval: z.strictObject({ by: z.string(), at: z.int(), notes: z.string() }).nullable().default(null),
});

/** Something that an operation had to prove, and whether it did: `text` is the sentence that an auditor reads. */
export const verdictSchema = z.strictObject({ name: z.string(), ok: z.boolean(), text: z.string() });
export type Verdict = z.infer<typeof verdictSchema>;

/** Another checkpoint than the one that was recovered, asked for before the commit (0017). */
export const retargetSchema = z.strictObject({
  /** Of the try: the failover itself was try 1. */
  number: z.int().min(2),
  requestId: idSchema,
  checkpointId: z.string(),
  /** Source times, ms since the epoch. */
  checkpointTime: z.int(),
  by: z.string(),
  at: z.int(),
  /** What had been recovered before. */
  from: z.strictObject({ checkpointId: z.string(), checkpointTime: z.int() }),
  /** When the volumes of before were detached and the operation's checkpoint became this one. */
  switchedAt: z.int().nullable(),
  /** Milliseconds from the ask to all volumes readable and all groups booted. */
  rtoMs: z.int().nullable(),
  error: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
});
export type Retarget = z.infer<typeof retargetSchema>;

/** What happens when nobody decides; of a test and a sync nothing. */
export const policyOf = ({ live, move }: Pick<Operation, "live" | "move">): LiveOptions["commitPolicy"] =>
  (live ?? move)?.commitPolicy ?? { action: "none" };

/** One run of a workflow: the table item `operation#<id>`. Steps are the workflow's idempotency record and the report's body. */
export const operationSchema = z.strictObject({
  operationId: idSchema,
  vpgId: idSchema,
  vpgName: z.string(),
  kind: z.enum(operationKinds),
  phase: z.enum(phases),
  attempt: z.int().min(1),
  live: liveOptionsSchema.nullable(),
  test: testOptionsSchema.nullable(),
  move: moveOptionsSchema.nullable().default(null),
  /** Of a delta-sync. */
  sync: syncOptionsSchema.nullable().default(null),
  reverse: reverseOptionsSchema.nullable().default(null),
  initiatedBy: z.string(),
  /** Null when a person started it; absent in records that are older than triggers. */
  incident: operationIncidentSchema.nullable().default(null),
  createdAt: z.int(),
  endedAt: z.int().nullable(),
  term: z.int().min(1),
  checkpointId: z.string().nullable(),
  /** Source time of the checkpoint, ms since the epoch. */
  checkpointTime: z.int().nullable(),
  steps: z.record(z.string(), stepSchema),
  /** Step → task token that a callback wakes. Never leaves the table: not in replies, logs or reports. */
  tokens: z.record(z.string(), z.string()),
  /** Volume number → NBD URI of the recovered disk. */
  exports: z.record(z.string(), z.string()),
  bootGroupsDone: z.int().min(0),
  /** In the order they were asked for; the last one may be under way. */
  retargets: z.array(retargetSchema).max(limits.retargetsMax).default([]),
  lostTail: lostTailSchema.nullable(),
  /** Of a move: how each source gateway's session ended, by the gateway's id. */
  finals: z.record(idSchema, finalSchema).default({}),
  /** Of an operation that syncs; null before it has, and of any other. */
  syncFigures: syncFiguresSchema.nullable().default(null),
  reverseFigures: reverseFiguresSchema.nullable().default(null),
  /** In the order they were proved. */
  verdicts: z.array(verdictSchema).max(limits.verdictsMax).default([]),
  error: z.strictObject({ name: z.string(), message: z.string() }).nullable(),
  /** Milliseconds from the start to all volumes readable and all groups booted. */
  rtoMs: z.int().nullable(),
  sourceWasShutDown: z.boolean(),
  /** A rollback could not power the source on, because its gateway was silent: it is done when that is heard again. */
  sourceLeftOff: z.boolean().default(false),
  /**
   * Of an operation that was forgotten with a table and goes on: what its steps of before did is known to gateways alone, so this
   * stands in the names of its commands. Null: it was never forgotten.
   */
  resumeId: idSchema.nullable().default(null),
});
export type Operation = z.infer<typeof operationSchema>;
