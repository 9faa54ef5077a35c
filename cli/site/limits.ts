import { objectBytesMax } from "#core/journal/limits.ts";

/** Bounds of an embedded site's HTTP server and its housekeeping. */
export const siteLimits = {
  /** Request headers: a token, an age, and what proxies add. */
  headerBytesMax: 16 * 1024,
  /** From the first byte of a request to the end of its headers. */
  headersTimeoutMs: 10_000,
  /** From the first byte of a request to the end of its body: 4 MiB at 50 KB/s. */
  requestTimeoutMs: 90_000,
  /** An idle connection is kept; gateways call every second, and clients close theirs after 60 s. */
  keepAliveMs: 75_000,
  /** Sixteen uploads of each of thirty gateways, and people. */
  connectionsMax: 600,
  /** Bodies held in memory at the same time; further requests are told to come again. */
  bodiesBytesMax: 512 * 1024 * 1024,
  /** A body up to this comes in one piece and needs no buffer of its own. */
  singlePieceBytes: 64 * 1024,
  /** Size of the buffers that longer bodies share in turn: a batch. */
  pooledBodyBytes: objectBytesMax,
  /** How many are kept between requests: the batches that one gateway has in flight. */
  pooledBodiesMax: 16,
  /** Requests under way get this long at a clean stop. */
  closeGraceMs: 10_000,
  /** How often operations are compared with their executions; on AWS a schedule does it every minute. */
  reconcileEveryMs: 5000,
  /** How often journals are looked at for new layers, as on AWS. */
  compactEveryMs: 60_000,
  /** How often what delta-syncs left behind is looked through. */
  sweepEveryMs: 3_600_000,
  /** Pages of a delta-sync that are compared at once: each reads up to 1 GiB of the journal by the one thread that serves everybody. */
  pagesAtOnce: 2,
  /** What gateways pause for between heartbeats: a person waits for what they hear of there, and here they cost no money; what says nothing new isn't written. */
  heartbeats: { idleMs: 1000, busyMs: 250 },
  /** Threads that decode and hash what is compared, 16 MiB at a time in memory of their own: each does some 0.5 GB/s, and a gateway hashes 2. */
  windowThreadsMax: 4,
  /** What such a window of 16 MiB has stored, mostly: memory for one a thread, and for one that is read meanwhile. At most 32 MiB, where no frame shows whole. */
  windowRoomBytes: 8 * 1024 * 1024,
  /** Without comparisons for so long, these threads and their memory are let go. */
  windowIdleMs: 30_000,
  /** Pages of delta-syncs that wait to be compared as they come; more are left to the state machine. */
  pagesAheadMax: 64,
  /** How often journals are looked at for what may be deleted, as on AWS. */
  collectEveryMs: 60_000,
  /** How often journals are read back a bit further: in smaller bits than on AWS, on the thread that serves everybody. */
  scrubEveryMs: 60_000,
  /** How often sources are looked after: once a heartbeat that is kept. */
  monitorEveryMs: 5000,
} as const;
