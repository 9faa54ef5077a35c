/** Bounds of running operations. */
export const recoveryLimits = {
  /** One wait for a decision; after it the machine looks again and reminds. */
  decisionRoundMs: 86_400_000,
  /** A decision that nobody made for so long is an alert: whoever began the operation is done with looking, or has forgotten it. */
  decisionAlertMs: 3_600_000,
  /** What a shutdown command may take beyond its grace before it counts as unanswered. */
  shutdownMarginMs: 60_000,
  /** A source gateway that is silent for so long while it closes its volumes: its VMs are down meanwhile, and go on again after. */
  closeExpiryMs: 60_000,
  /** What a gateway gets to be heard again by a site that was away: one at work, or with a result, tries every second. */
  hearAgainMs: 60_000,
  /** Between two asks of a peer: a twentieth of the step's age within these, so that 30 days are some 14,000 events of 25,000. */
  peerWaitMsMin: 1000,
  peerWaitMsMax: 1_800_000,
  /** Attempts of one operation; more means that something is wrong that trying doesn't mend. */
  attemptsMax: 50,
  /** An HTML report: below what one reply of a function may carry (6 MB). */
  reportHtmlBytesMax: 4 * 2 ** 20,
  /** Characters of one text in an HTML report that are shown: the first that lets the whole stay below its bound. The last does for any report. */
  reportTextCharacters: [4000, 400, 40],
  /** Rows of one table in an HTML report: as many volumes as a VPG may have; steps are fewer. */
  reportRowsMax: 400,
} as const;
/** Bounds of reading a point in time; each is a default that the owner of a reader may lower or raise. */

/** Decoded batch headers kept: a header of 1000 records takes some 30 KiB, so this holds the records of a million writes. */
export const headerCacheBytes = 64 * 1024 * 1024;

/** Decompressed frames kept (at most 256 KiB each). */
export const frameCacheBytes = 64 * 1024 * 1024;

/** Page indexes kept by a view: 21 to 25 bytes an extent, so about ten million extents. */
export const pageCacheBytes = 256 * 1024 * 1024;

/** What shows of chunks, kept by a view: 13 bytes a run, so 16 MiB cover about 4 GiB of volume in runs of 4 KiB. */
export const chunkCacheBytes = 16 * 1024 * 1024;

/** Directories of layers' parts kept by a reader: some 150 bytes a section, so about 400 sections' a part of 10^6 extents. */
export const layerDirectoryCacheBytes = 32 * 1024 * 1024;

/** Decoded sections of layers kept by a reader: 60 to 300 KiB each. */
export const layerSectionCacheBytes = 64 * 1024 * 1024;

/** Extents of one page: a page index above it needs compaction first (`LimitExceeded`). */
export const pageExtentsMax = 2 ** 26;

/** Headers or frames read at the same time by one page build or one read. */
export const fetchConcurrency = 16;

/** Bytes put together at a time when a volume is streamed in order of offset; divides a page. */
export const streamWindowBytes = 64 * 1024 * 1024;

/** Runs put in the frames' order at a time when the order of offsets does not matter: 24 bytes each. */
export const streamRunsMax = 2 ** 22;

/** Batches one reader may meet: their numbers and a frame's share 31 bits of a sort key. */
export const readerBatchesMax = 2 ** 25;

/** Ranges of one object that are read together: at most so long, with no hole longer than the second figure between them. */
export const coalescedBytesMax = 5 * 1024 * 1024;
export const coalescedGapBytes = 16 * 1024;
