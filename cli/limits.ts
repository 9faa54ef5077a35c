/** Bounds of the command line. */
export const cliLimits = {
  /** A site that does not answer a request by then is reported as unreachable. */
  requestMs: 30_000,
  /** How often a watched operation is asked about. */
  pollMs: 500,
  /** A site that is gone for so long ends the following of an operation, which goes on there without it. */
  patienceMs: 60_000,
  /** How often a whole site's failover is asked to go on. */
  sitePollMs: 2000,
  /** Items of one page of a list. */
  pageItems: 1000,
  /** Tagging and throttling wait this long for the gateway to do it. */
  commandWaitMs: 60_000,
  /** A VPG's rates are measured at least this long: two heartbeats, with which the counters come. */
  measureMsMin: 10_000,
} as const;
