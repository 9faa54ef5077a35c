import type { Random } from "#core/ports.ts";
import type { StatesFailure } from "./failure.ts";
import type { Fields } from "./fields.ts";
import { MAX_DELAY_SECONDS_LIMIT, SECONDS_MAX } from "./limits.ts";
import type { Path } from "./paths.ts";

export interface Retrier {
  readonly errors: readonly string[];
  readonly intervalSeconds: number;
  readonly maxAttempts: number;
  readonly backoffRate: number;
  readonly maxDelaySeconds: number | undefined;
  readonly fullJitter: boolean;
}

export interface Catcher {
  readonly errors: readonly string[];
  readonly next: string;
  readonly resultPath: Path | null;
}

/**
 * Built-in names that Retry and Catch may state. States.Runtime is not among them: Step Functions accepts it there, but
 * it never matches, so a document that names it hopes in vain.
 */
const BUILT_IN = new Set([
  "States.ALL",
  "States.DataLimitExceeded",
  "States.ExceedToleratedFailureThreshold",
  "States.HeartbeatTimeout",
  "States.IntrinsicFailure",
  "States.NoChoiceMatched",
  "States.Permissions",
  "States.ResultPathMatchFailure",
  "States.TaskFailed",
  "States.Timeout",
]);

/** Errors that no wildcard matches. */
const TERMINAL = new Set(["States.Runtime", "States.DataLimitExceeded"]);

/**
 * Whether an ErrorEquals names the failure, by the table of error names in the Step Functions guide: States.ALL is
 * everything but the terminal errors, States.TaskFailed also leaves timeouts out, States.Timeout includes missed
 * heartbeats, States.HeartbeatTimeout is only those, States.Runtime is never matched.
 */
export function matches(errors: readonly string[], failure: StatesFailure): boolean {
  if (failure.error === "States.Runtime") return false;
  const terminal = TERMINAL.has(failure.error);
  return errors.some((name) => {
    if (name === "States.ALL") return !terminal;
    if (name === "States.TaskFailed") return !terminal && failure.error !== "States.Timeout";
    if (name === "States.HeartbeatTimeout") return failure.heartbeat || failure.error === name;
    return name === failure.error;
  });
}

export interface RetryDecision {
  /** Place of the retrier in Retry; its counter goes up by one. */
  readonly retrier: number;
  readonly delayMs: number;
}

/** What Retry says after this failure; `used` counts the retries of each retrier so far. Undefined: no more retries. */
export function decideRetry(
  retriers: readonly Retrier[],
  used: readonly number[],
  failure: StatesFailure,
  random: Random,
): RetryDecision | undefined {
  const index = retriers.findIndex((retrier) => matches(retrier.errors, failure));
  const retrier = retriers[index];
  const count = used[index] ?? 0;
  if (retrier === undefined || count >= retrier.maxAttempts) return undefined;
  const most = retrier.maxDelaySeconds ?? SECONDS_MAX;
  const seconds = Math.min(retrier.intervalSeconds * retrier.backoffRate ** count, most);
  return { retrier: index, delayMs: Math.round(seconds * 1000 * (retrier.fullJitter ? fraction(random) : 1)) };
}

/** Uniform in [0, 1). */
function fraction(random: Random): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
  return (((a * 256 + b) * 256 + c) * 256 + d) / 2 ** 32;
}

function parseErrors(item: Fields, last: boolean): readonly string[] {
  const errors = item.array("ErrorEquals").map((name) => {
    if (typeof name !== "string" || name === "") throw item.invalid("ErrorEquals", "must hold error names");
    if (name.startsWith("States.") && !BUILT_IN.has(name)) throw item.invalid("ErrorEquals", `cannot match ${name}`);
    return name;
  });
  if (errors.length === 0) throw item.invalid("ErrorEquals", "must not be empty");
  if (errors.includes("States.ALL") && (errors.length > 1 || !last)) {
    throw item.invalid("ErrorEquals", "States.ALL must be alone and in the last entry");
  }
  return errors;
}

/** Retry of a state. */
export function parseRetry(state: Fields): readonly Retrier[] {
  if (!state.has("Retry")) return [];
  const items = state.list("Retry");
  return items.map((item, i) => {
    item.optionalString("Comment");
    const intervalSeconds = item.optionalInteger("IntervalSeconds", 1, SECONDS_MAX) ?? 1;
    const maxDelaySeconds = item.optionalInteger("MaxDelaySeconds", 1, MAX_DELAY_SECONDS_LIMIT - 1);
    const backoffRate = item.get("BackoffRate") ?? 2;
    const jitter = item.optionalString("JitterStrategy") ?? "NONE";
    if (typeof backoffRate !== "number" || backoffRate < 1) throw item.invalid("BackoffRate", "must be at least 1.0");
    if (jitter !== "NONE" && jitter !== "FULL") throw item.invalid("JitterStrategy", "must be NONE or FULL");
    if (maxDelaySeconds !== undefined && maxDelaySeconds <= intervalSeconds) {
      throw item.invalid("MaxDelaySeconds", "must be greater than IntervalSeconds");
    }
    const retrier: Retrier = {
      errors: parseErrors(item, i === items.length - 1),
      intervalSeconds,
      maxAttempts: item.optionalInteger("MaxAttempts", 0, SECONDS_MAX) ?? 3,
      backoffRate,
      maxDelaySeconds,
      fullJitter: jitter === "FULL",
    };
    item.end();
    return retrier;
  });
}

/** Catch of a state; `target` checks that a state's name exists. */
export function parseCatch(state: Fields, target: (item: Fields, name: string) => string): readonly Catcher[] {
  if (!state.has("Catch")) return [];
  const items = state.list("Catch");
  return items.map((item, i) => {
    item.optionalString("Comment");
    const catcher: Catcher = {
      errors: parseErrors(item, i === items.length - 1),
      next: target(item, "Next"),
      resultPath: resultPath(item),
    };
    item.end();
    return catcher;
  });
}

/** ResultPath of a state or a catcher: a place in the state's input. */
export function resultPath(item: Fields): Path | null {
  const path = item.nullablePath("ResultPath");
  if (path?.root === "context") throw item.invalid("ResultPath", "cannot write into the context object");
  return path;
}
