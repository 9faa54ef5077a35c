/** Bounds of retention: thinning, packs, and the collector. */
export const retentionLimits = {
  tiersMax: 8,
  /** A day between two checkpoints; a tier's length, from a minute to ten years. */
  everyMsMax: 86_400_000,
  forMsMin: 60_000,
  forMsMax: 10 * 366 * 86_400_000,
  /** Every checkpoint for an hour, one a minute for a day, one an hour for 30 days. */
  tiersDefault: [
    { everyMs: 0, forMs: 3_600_000 },
    { everyMs: 60_000, forMs: 86_400_000 },
    { everyMs: 3_600_000, forMs: 30 * 86_400_000 },
  ],
  taggedMsDefault: 30 * 86_400_000,
  /** Room for what a layer and a pack take while they are made. */
  journalLimitBytesMin: 64 * 1024 * 1024,
  /** The site's clock may be corrected by so much without counting as moved back. */
  clockStepMs: 60_000,
  /** How far the site's clock and a source's may be apart, its silence included: hours of a jump are noticed, minutes cost nothing. */
  clockAgreesMs: 3_600_000,
  /** Steps of a journal limit's policy: 2^12 times coarser, or a fourteenth of the history. */
  pressureMax: 12,
  /** Part of the limit under which a step is taken back. */
  relievedAt: 0.8,
  /** Between two thinnings of a VPG: each reads the items of all listed checkpoints. */
  thinEveryMs: 900_000,
  /**
   * Between two passes that look for what can be packed, unless one had to leave something: each reads all layers. Longer than what
   * was replaced is kept and the collector's round together, so that nothing is replaced again before it could be deleted.
   */
  packEveryMs: 2 * 3_600_000,
  /** Checkpoints unlisted by one run, a conditional write each; the next one goes on. */
  unlistedMax: 5000,
  /** Conditional writes at the same time. */
  marksAtOnce: 16,
  /** Headers read at the same time by a pass. */
  readsMax: 16,
  /** A pack is made of at least so many small objects, unless half of what they hold is seen by nobody. */
  unitsMin: 4,
  /** Objects below this are put together. */
  smallBytes: 1024 * 1024,
  /** An object of which less than this part is seen is made anew. */
  liveLeast: 0.5,
  /** Bytes read to make packs in one run. */
  packBytesMax: 1024 * 1024 * 1024,
  /** Packs made by one run. */
  packsMax: 2048,
  /** Packs of a journal from which on none is made of batches alone: a digest has room for 40,000, and a run may add some. */
  digestPacksMax: 36_000,
  /** Batches at the end of an open session that are never packed: a gateway may send them again. */
  openBatches: 128,
  /** Events that one pack may carry: they stand in one item of the table. */
  eventsMax: 256,
  /** How long what was replaced stays for who reads by an older manifest; also the age from which an object that nothing names is a leak. */
  replacedKeptMs: 3_600_000,
  /** Manifests kept behind the newest, for whoever reads by one or was restored with one. */
  manifestsKept: 256,
  /** Between two collections of a VPG: each lists its objects, a request a thousand. */
  collectEveryMs: 900_000,
  /** Objects deleted by one run for one VPG, and at the same time. */
  deletedMax: 100_000,
  deletesAtOnce: 16,
  /** How long the journal of a deleted VPG stays, for whoever deleted it by mistake: the offline reader still has it. */
  deletedKeptMs: 7 * 86_400_000,
  /** What two looks at a deleted VPG prove at most: a clock that jumped by years is an hour further. */
  deletedLookMsMax: 3_600_000,
  /** A run begins nothing after this. */
  runMs: 240_000,
  /** A lease of a view, and how often it is renewed: a site may be away for most of an hour. */
  leaseMs: 3_600_000,
  leaseRenewMs: 600_000,
  /** Leases of one VPG: they stand in one item, and each keeps history that would be thinned. */
  leasesMax: 64,
} as const;
