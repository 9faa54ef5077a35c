import { isDeepStrictEqual as equal } from "node:util";
import { type Observed, tokenOf } from "./script.ts";

/** A field in which two interpreters differ. */
export interface Difference {
  readonly script: string;
  readonly field: keyof Observed;
  readonly embedded: unknown;
  readonly moto: unknown;
}

/** A way in which moto's interpreter is known to differ; docs/asl-interpreters.md has a line for each, by `id`. */
interface KnownDifference {
  readonly id: string;
  readonly isMet: (script: string, embedded: Observed, moto: Observed) => boolean;
}

const failsOnly = (embedded: Observed, error: string): boolean =>
  embedded.status === "FAILED" && embedded.error === error;

export const knownDifferences: readonly KnownDifference[] = [
  {
    id: "runtime-error-is-caught",
    isMet: (script, embedded, moto) =>
      failsOnly(embedded, "States.Runtime") && goesOn(embedded, moto) && !/waitSeconds/.test(script),
  },
  {
    id: "timeout-of-zero",
    isMet: (script, embedded, moto) =>
      failsOnly(embedded, "States.Runtime") && goesOn(embedded, moto) && /waitSeconds is (0|-1)$/.test(script),
  },
  {
    id: "no-choice-matched",
    isMet: (_, embedded, moto) =>
      failsOnly(embedded, "States.NoChoiceMatched") &&
      moto.error === "States.Runtime" &&
      equal(embedded.states, moto.states) &&
      equal(embedded.calls, moto.calls),
  },
  {
    id: "token-of-the-attempt-before",
    isMet: (script, embedded, moto) =>
      script.includes("the token fails with ") &&
      equal(embedded.states, moto.states) &&
      moto.calls.length > embedded.calls.length,
  },
  {
    id: "function-before-its-token",
    isMet: (script, embedded, moto) =>
      hasToken(script, embedded) &&
      /: the (token comes back(, the function never| before the function)|function never answers)$/.test(script) &&
      equal(embedded.states, moto.states) &&
      equal(embedded.output, moto.output) &&
      moto.endedAtMs > embedded.endedAtMs,
  },
  {
    id: "failed-item-is-tolerated",
    isMet: (_, embedded, moto) =>
      embedded.events.includes("MapRunFailed") &&
      !moto.events.includes("MapRunFailed") &&
      equal(upToMapRun(embedded), upToMapRun(moto)),
  },
  {
    id: "too-many-at-once",
    isMet: (script, embedded, moto) =>
      /atOnce is \d{8}$/.test(script) && embedded.status === "SUCCEEDED" && !moto.events.includes("MapRunSucceeded"),
  },
  {
    id: "timed-out-execution",
    isMet: (_, embedded, moto) =>
      embedded.status === "TIMED_OUT" &&
      moto.status === "TIMED_OUT" &&
      moto.error === null &&
      equal(embedded.states, moto.states) &&
      embedded.endedAtMs === moto.endedAtMs,
  },
];

/** The history up to the first start of a distributed Map's items. */
const upToMapRun = ({ events }: Observed): readonly string[] => events.slice(0, events.indexOf("MapRunStarted") + 1);

/** The state that a derived script is about gives out tokens. */
function hasToken(script: string, { calls }: Observed): boolean {
  return calls.some(({ state, payload }) => script.startsWith(`${state}: `) && tokenOf(payload) !== undefined);
}

/** Moto entered the same states and then more. */
function goesOn(embedded: Observed, moto: Observed): boolean {
  const same = moto.states.slice(0, embedded.states.length);
  return equal(embedded.states, same) && moto.states.length > embedded.states.length;
}

const fields = ["status", "error", "cause", "output", "states", "calls", "events", "endedAtMs"] as const;

/** Where they differ, each field once; lists from their first difference on. */
export function differencesOf(script: string, embedded: Observed, moto: Observed): readonly Difference[] {
  return fields.flatMap((field): Difference[] => {
    // The causes of the interpreter's own errors are prose.
    if (field === "cause" && embedded.error === moto.error && embedded.error?.startsWith("States.") === true) return [];
    const [left, right] = [embedded[field], moto[field]];
    if (equal(left, right)) return [];
    if (!Array.isArray(left) || !Array.isArray(right)) return [{ script, field, embedded: left, moto: right }];
    const at = left.findIndex((item, i) => !equal(item, right[i]));
    const from = at < 0 ? left.length : at;
    return [{ script, field, embedded: left.slice(from, from + 3), moto: right.slice(from, from + 3) }];
  });
}
