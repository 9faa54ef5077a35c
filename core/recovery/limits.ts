/** Bounds of running operations. */
export const recoveryLimits = {
  /** One wait for a decision; after it the machine looks again and reminds. */
  decisionRoundMs: 86_400_000,
  /** What a shutdown command may take beyond its grace before it counts as unanswered. */
  shutdownMarginMs: 60_000,
  /** Attempts of one operation; more means that something is wrong that trying doesn't mend. */
  attemptsMax: 50,
} as const;
