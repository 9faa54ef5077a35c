/** Bounds of the interpreter; those of every execution are in core/workflow-rules.ts. */

/** Events of one execution; at this number Step Functions fails it. */
export const HISTORY_EVENTS_MAX = 25_000;

/** Characters of a state's name. */
export const STATE_NAME_LENGTH_MAX = 80;

/** Iterations of an INLINE Map that run at once, whatever MaxConcurrency asks for. */
export const INLINE_MAP_CONCURRENCY_MAX = 40;

/** Child executions of a DISTRIBUTED Map that Step Functions runs at once, whatever MaxConcurrency asks for. */
export const DISTRIBUTED_MAP_CONCURRENCY_MAX = 10_000;

/** An EXPRESS execution lasts at most five minutes. */
export const EXPRESS_MS_MAX = 300_000;

/** Largest number of seconds any field takes, and the timeout of a Task that states none (about three years). */
export const SECONDS_MAX = 99_999_999;

/** MaxDelaySeconds must be below this (366 days). */
export const MAX_DELAY_SECONDS_LIMIT = 31_622_400;

/** Nesting of states, templates and intrinsic calls; keeps a hostile document from exhausting the stack. */
export const DEPTH_MAX = 32;

/** One sleep is at most a day: timers overflow past 24.8 days, and a deadline may be years away. */
export const SLEEP_MS_MAX = 86_400_000;

/** How long `close` waits for functions that are still running; what they do later is not recorded. */
export const CLOSE_GRACE_MS = 10_000;

/** Pause before an execution that the store or the program interrupted is taken up again. */
export const INTERRUPTED_REST_MS = 30_000;
