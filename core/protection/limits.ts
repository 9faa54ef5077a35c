/** Bounds of a VPG and its operations. */
export const protectionLimits = {
  /** Source gateways of one VPG: a command to each, two actions, is given in one transaction of at most 100. The format has room for 64. */
  sourceGatewaysMax: 48,
  /** VMs of one VPG; the field's groups hold tens, and a view command names every volume in one item. */
  vmsMax: 100,
  /** VMs whose hooks a heartbeat names: those of four full VPGs, some 10 KB. */
  hookVmsMax: 400,
  /** Volumes of one VPG; volume numbers are 16 bits, never reused. */
  volumesMax: 400,
  /** Of the journal's 16 bits. */
  volumeNumberMax: 65_535,
  /** One volume; keeps byte offsets far inside 2^53 and page numbers in 16 bits. */
  volumeBytesMax: 64 * 2 ** 40,
  bootGroupsMax: 50,
  /** A boot group's delay. */
  bootDelayMsMax: 3_600_000,
  checkpointIntervalMsMin: 1000,
  checkpointIntervalMsDefault: 5000,
  checkpointIntervalMsMax: 3_600_000,
  targetRpoMsDefault: 15_000,
  historyMsDefault: 24 * 3_600_000,
  /** Part of the history that may be missing at its far end before it is called short: less than a journal limit's first step, a fifth. */
  historyGapPart: 0.1,
  /** The field's default grace of a forced shutdown. */
  shutdownGraceMsDefault: 300_000,
  shutdownGraceMsMax: 3_600_000,
  /** An undecided failover stays BeforeCommit, with reminders, for at most 30 days. */
  commitWaitMsMax: 30 * 86_400_000,
  /** Checkpoints that one failover may be moved to before its commit; each keeps its scratch, and its steps stand in one item. */
  retargetsMax: 16,
  /** Rolled back operations of one VPG whose source is still to be powered on: one would do, were a second failover not allowed meanwhile. */
  powerOnsDueMax: 32,
  /** Asks to power a source on that was heard again; more mean that its hook doesn't work. */
  powerOnTriesMax: 20,
  /** A source that was just heard answers such an ask at once; a late answer could meet the next failover. */
  powerOnExpiryMs: 60_000,
  /** How long a detached scratch is kept after a rollback. */
  scratchKeptMs: 86_400_000,
  /** After a commit, how long what the source had acknowledged beyond the recovered checkpoint stays readable at least. */
  lostTailKeptMs: 86_400_000,
  /** Things that one operation proves: one a volume and some more. */
  verdictsMax: 500,
  /** Live operations in the bucket that are looked for in the table, the newest: those of before a backup are in it, and what came later is the newest. */
  operationsComparedMax: 8,
  tagBytesMax: 128,
  notesCharactersMax: 4000,
  /** A gateway that was silent this long counts as disconnected: three heartbeats of 5 s. */
  heartbeatSilenceMs: 15_000,
  heartbeatIntervalMs: 5000,
  /** While its VPG has an operation. */
  heartbeatBusyIntervalMs: 1000,
  /** A command not finished (or not renewed by progress) by then is expired; the step that waits for it fails by name. */
  commandExpiryMs: 600_000,
  commandsPerReplyMax: 32,
  /** Commands of `unhurriedKinds` in the same reply: at most 16 preseeds, and the seeds of as many reverse protections as are left. */
  unhurriedPerReplyMax: 64,
  /** Preseeds of one gateway that have not ended. One with 400 volumes has some 250 KB, and a reply carries all of them (6 MB). */
  preseedsQueuedMax: 16,
  /** A preseed waits for days behind others; what ends one is that its gateway is away for so long. */
  preseedExpiryMs: 86_400_000,
  /** A command's result stands in one item of at most 400 KB beside its body. */
  commandResultCharactersMax: 200_000,
  /** Read-and-write-if-unchanged rounds before the caller is told to try again later. */
  writeAttemptsMax: 50,
  /** Failover tests of one VPG open at once. */
  testsMax: 8,
  /** Opens of one session ordinal begun and never finished: each is a gateway that was killed between two writes. */
  openingsMax: 32,
  /** Sessions that a site restored from an older copy may lack; a gateway that claims more would use up the ordinals. */
  sessionsLostMax: 1_000_000,
  /** How long a process goes on taking batches after a journal has reached its limit: three heartbeats. */
  journalFullLookMs: 15_000,
  /** Batches beyond the unbroken run that are still taken: four times what a gateway has in flight. */
  gapWindow: 64,
  /** Sessions a process remembers, so that a batch of a known one costs no read. */
  cachedSessionsMax: 4096,
  /** Batch rows folded by one read. */
  rowsPerRead: 256,
  /** Batches after which a session's progress is stored again: what a new process must fold at most. */
  progressStoredEvery: 256,
  /** VPGs whose journal a process keeps an index and caches of, for the hashes of a sync. */
  journalReadersMax: 8,
  /** Headers, and again frames, kept by each. */
  journalReaderCacheBytes: 32 * 1024 * 1024,
  /** A tagged checkpoint is asked for by a person who waits; later it would name another moment than was meant. */
  tagExpiryMs: 60_000,
  /** Events of one batch: a begin and an end for each volume and some more; they stand in one item. */
  eventsPerBatchMax: 1024,
  /** Bytes a second. Below it a batch of 4 MiB would take longer than a gateway's command lives. */
  throttleRateMin: 10_000,
  /** Terms of one VPG that an offer may tell of, so that it fits a request: some fifty cycles there and back with offers taken back. */
  lineageMax: 256,
  /** A peer's gateways are asked again to close, or to bring their old disks, so long after one of them failed. */
  reverseAgainMs: 60_000,
  /** Times that a gateway is asked for its old disks; without them the sync sends everything. */
  seedAttemptsMax: 3,
  /** Of a preseed's file: all volumes' together stand in one command's item. */
  preseedPathCharactersMax: 500,
  /** Other sites that one site knows; `status` carries them all. */
  peersMax: 100,
  /** A function URL has about 70; a name of one's own in front may be longer. */
  peerUrlCharactersMax: 500,
  /** Batches that may come in between while a session is being sealed; a gateway has sixteen in flight. */
  sealAttemptsMax: 1000,
} as const;
