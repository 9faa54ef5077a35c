import type { Position } from "./position.ts";

/** What a batch says, apart from how it is laid out in bytes (encode.ts, decode.ts, FORMAT.md). */

/** `ExtentColumns.kind` values. */
export const extentKinds = { write: 1, zero: 2 } as const;

/**
 * Writes and zeros in order of sequence, as columns: a batch may have thousands, and an object for each would cost more
 * than the work done on them. Entry `i` stands at `i` of each array; arrays may be longer than `count`.
 */
export interface ExtentColumns {
  readonly count: number;
  /** 1 write, 2 zero. */
  readonly kind: Uint8Array;
  readonly volume: Uint16Array;
  /** Sequence minus the batch's `firstSequence`; strictly rising. Coalesced records leave holes. */
  readonly sequenceDelta: Uint32Array;
  /** Bytes into the volume. */
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** Number of the frame that holds a write's bytes; 0 for a zero. */
  readonly frame: Uint8Array;
  /** Bytes into the frame's raw bytes; 0 for a zero. */
  readonly frameOffset: Uint32Array;
}

/** A checkpoint: the image here holds all that was acknowledged before. Always the last record of its batch. */
export interface MarkerEvent {
  readonly kind: "marker";
  readonly sequence: number;
  /** Source clock, milliseconds since the epoch. */
  readonly time: number;
  /** At most 128 bytes of UTF-8; empty when untagged. */
  readonly tag: string;
}

/** From `sync-begin` to `sync-end` the volume's image is a mixture, and no checkpoint is valid (R12). */
export interface SyncEvent {
  readonly kind: "sync-begin" | "sync-end";
  readonly sequence: number;
  readonly volume: number;
}

export interface ResizeEvent {
  readonly kind: "resize";
  readonly sequence: number;
  readonly volume: number;
  readonly sizeBytes: number;
}

/** The end of a session by a move: the source is closed, and nothing was written that isn't before it. Always the last record of its batch and of its session. */
export interface FinalEvent {
  readonly kind: "final";
  readonly sequence: number;
  /** ULID of the move's operation. */
  readonly operationId: string;
  /** 32 bytes; zeros when there is none. */
  readonly hash: Uint8Array;
}

/** The clean end of a session. Always the last record of its batch and of its session. */
export interface CloseEvent {
  readonly kind: "close";
  readonly sequence: number;
}

/**
 * Of a VPG with several source gateways: acknowledgements were held when it was appended, and a barrier may name it. Alone it
 * is no checkpoint. Always the last record of its batch.
 */
export interface HoldEvent {
  readonly kind: "hold";
  readonly sequence: number;
  /** Source clock, milliseconds since the epoch. */
  readonly time: number;
}

/** R11: one instant of several gateways' sessions, appended by the coordinator. Always the last record of its batch. */
export interface BarrierEvent {
  readonly kind: "barrier";
  readonly sequence: number;
  /** The coordinator's clock while all held, milliseconds since the epoch. */
  readonly time: number;
  /** At most 128 bytes of UTF-8; empty when untagged. */
  readonly tag: string;
  /** One hold of each gateway, by ascending session; the coordinator's own stands before the barrier in the same session. */
  readonly vector: readonly Position[];
}

export type BatchEvent = MarkerEvent | SyncEvent | ResizeEvent | FinalEvent | CloseEvent | HoldEvent | BarrierEvent;

/** Whether nothing follows in the session, and the disks were as the journal has them. */
export const endsSession = ({ kind }: { readonly kind: string }): boolean => kind === "close" || kind === "final";

/** What a batch with such an event asks of its reader. */
export const needsBarrier = (events: readonly BatchEvent[]): boolean =>
  events.some((event) => event.kind === "hold" || event.kind === "barrier");

export type FrameCodec = "raw" | "zstd";

/** A frame ready to be stored. */
export interface CompressedFrame {
  readonly codec: FrameCodec;
  readonly bytes: Uint8Array;
  /** Of `bytes`, the stored ones. */
  readonly crc32: number;
  readonly rawLength: number;
}

/** A frame as the header lists it. */
export interface FrameInfo {
  readonly codec: FrameCodec;
  /** Where the stored bytes start in the object. */
  readonly start: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly crc32: number;
}

/** A batch's place in its VPG's journal. */
export interface BatchPlace {
  /** Lower-case ULID. */
  readonly vpgId: string;
  readonly term: number;
  /** Session ordinal. */
  readonly session: number;
  /** Number in the session, from 0. */
  readonly batch: number;
}

interface BatchFacts extends BatchPlace {
  /** The hash (see `batchHash`) of batch - 1 of the session, 32 bytes; zeros for batch 0. */
  readonly previousHash: Uint8Array;
  readonly configRevision: number;
  /** Sequences the batch stands for, coalesced ones included; the last one always has a record. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Source clock when the first and last record were taken, milliseconds since the epoch; a clock may step back. */
  readonly sourceTimeFirst: number;
  readonly sourceTimeLast: number;
}

export interface BatchInput extends BatchFacts {
  readonly extents: ExtentColumns;
  /** In order of sequence; between the extents they fall by sequence. */
  readonly events: readonly BatchEvent[];
  readonly frames: readonly CompressedFrame[];
}

export interface BatchHeader extends BatchFacts {
  readonly minor: number;
  readonly headerLength: number;
  readonly objectLength: number;
  readonly extents: ExtentColumns;
  readonly events: readonly BatchEvent[];
  readonly frames: readonly FrameInfo[];
}

/** Why a session was ended from outside. */
export type SealReason = "session-opened" | "failover-committed" | "vpg-deleted" | "operator";

/** What stands under a session's first absent batch number when it was ended from outside (R8). */
export interface Seal extends BatchPlace {
  /** Site that sealed. */
  readonly siteId: string;
  readonly reason: SealReason;
  /** The term and session that follow; 0 when none does. */
  readonly followingTerm: number;
  readonly followingSession: number;
  /** Milliseconds since the epoch by the sealer's clock. */
  readonly sealedAt: number;
}

/** Empty columns with room for `capacity` extents. */
export function newExtentColumns(capacity: number): ExtentColumns {
  return {
    count: capacity,
    kind: new Uint8Array(capacity),
    volume: new Uint16Array(capacity),
    sequenceDelta: new Uint32Array(capacity),
    offset: new Float64Array(capacity),
    length: new Uint32Array(capacity),
    frame: new Uint8Array(capacity),
    frameOffset: new Uint32Array(capacity),
  };
}

/** The first `count` entries, sharing memory. */
export function cutExtentColumns(columns: ExtentColumns, count: number): ExtentColumns {
  return {
    count,
    kind: columns.kind.subarray(0, count),
    volume: columns.volume.subarray(0, count),
    sequenceDelta: columns.sequenceDelta.subarray(0, count),
    offset: columns.offset.subarray(0, count),
    length: columns.length.subarray(0, count),
    frame: columns.frame.subarray(0, count),
    frameOffset: columns.frameOffset.subarray(0, count),
  };
}
