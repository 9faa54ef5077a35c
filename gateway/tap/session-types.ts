import type { SealedSegment } from "./segment.ts";
import type { SyncBasis, SyncLabel } from "./volume-track.ts";

/** The session that a site opened. */
export interface LogSession {
  readonly term: number;
  readonly session: number;
  /** The journal's number of each volume, in the order of the configuration. */
  readonly journalVolumes: readonly number[];
  /**
   * What makes its checkpoints: its own markers, or barriers with the VPG's other source gateways (R11). A session of seeds has none: its
   * volumes count as unsynced to its end.
   */
  readonly checkpoints?: "markers" | "barriers" | "none";
}

/** Where sealed segments go; their buffers are the receiver's from then on. */
export interface SegmentSink {
  push(segment: SealedSegment): void;
}

/** Whether the disks are as the journal has them when a session begins, and if not, what they are compared with. */
export type SessionStart =
  | { readonly kind: "continues" }
  | { readonly kind: "sync"; readonly label: SyncLabel; readonly basis: SyncBasis };

export type LogMode = SyncLabel | "replicating" | "paused" | "dirty" | "closed" | "fenced" | "no-session";

/** The batch that ends a session's chain so far, with its hash. */
export interface ChainHead {
  readonly batch: number;
  readonly hash: Uint8Array;
}
