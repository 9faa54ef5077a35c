/** Bounds of the scrub of journals; those of source disks are the gateway's (gateway/limits.ts). */
export const scrubLimits = {
  /** Without a rate of its own a journal is read back once in so long. */
  roundMs: 30 * 86_400_000,
  /** But not slower than so: a round of a small journal, and of one that grows, comes to an end. */
  bytesPerSecondLeast: 16 * 1024,
  /** With a rate of its own the next round begins at once, but for journals that are read within less. */
  roundMsLeast: 86_400_000,
  /** More than one function reads. */
  bytesPerSecondMax: 500_000_000,
  /** A round that a person asked for. */
  askedBytesPerSecond: 32 * 1024 * 1024,
  /** Time that was not used is made up for, up to this: a function that was not called for a day doesn't read a day's worth at once. */
  savedMsMax: 900_000,
  /** Between two runs over a journal, but in a round that a person waits for. */
  runEveryMs: 300_000,
  /** Read between two writes of the item: what a killed run reads again. */
  stepBytes: 64 * 1024 * 1024,
  /** Objects read between two writes of the item, where they are small. */
  stepObjects: 2000,
  /** Objects that are told as damaged; the round counts the rest. */
  findingsMax: 50,
  findingCharactersMax: 500,
  /** What was found damaged is read again so often, besides by every round; of much, each time the part that was read longest ago. */
  recheckEveryMs: 600_000,
  /** Findings of that part. It is read beside the rate, which rounds of a damaged journal need for themselves. */
  recheckFindings: 5,
  /**
   * Runs that must fail to read an object, while the store answers otherwise, before it counts as unreadable and the round goes on: half
   * an hour, and six minutes in a round that a person waits for. Each of them tries several times.
   */
  unreadableRuns: 6,
  /** A run begins nothing after this. */
  runMs: 240_000,
} as const;
