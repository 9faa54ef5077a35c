import { type Answer, callKey, isNode, type Observed, type Script } from "./script.ts";

/** A script and what the embedded interpreter made of it. */
export interface Base {
  readonly script: Script;
  readonly observed: Observed;
}

type Node = Record<string, unknown>;

/** An error that no Retry names. */
const UNKNOWN = "Sweep.Unknown";

/** Longer than any timeout of a document. */
const TOO_LONG_SECONDS = 99_999_999;

/** More at once than there are items in any script. moto starts a thread for each, though nothing is to be done by it. */
const TOO_MANY_AT_ONCE = 100;

/**
 * Scripts derived from a document, so that a state or a rule that is added to it is covered at once: on the shortest way to
 * each Task, each error of each Retry once and until its attempts are used up, each Catch, a function that never answers, each
 * outcome of a token, and each field of its result gone, empty, strange or too large.
 */
export function sweep(bases: readonly Base[]): readonly Script[] {
  const [first] = bases;
  if (first === undefined) return [];
  const usual = usualAnswers(bases);
  const concurrent = concurrencyFields(first.script.document);
  const known = new Set<string>();
  return tasksOf(first.script.document).flatMap(([state, task]) => {
    const way = shortestWay(bases, state);
    if (way === undefined) return [];
    return variations(task, way.answer, concurrent).flatMap(([name, injected]) => {
      const script = {
        ...way.base.script,
        name: `${state}: ${name}`,
        answers: { ...usual, ...way.base.script.answers, [way.key]: way.answersWith(injected) },
      };
      if (known.has(script.name)) return [];
      known.add(script.name);
      return [script];
    });
  });
}

/** What a function that no script foresaw answers: what it last answered well, by its call and by its name. */
function usualAnswers(bases: readonly Base[]): Record<string, readonly Answer[]> {
  const usual: Record<string, readonly Answer[]> = {};
  for (const { script } of bases)
    for (const [key, answers] of Object.entries(script.answers)) {
      const good = answers.findLast(({ afterMs, error }) => afterMs !== undefined && error === undefined);
      if (good === undefined) continue;
      usual[key] = [good];
      usual[key.slice(0, key.indexOf(" "))] = [good];
    }
  return usual;
}

/** Every Task of a document with its name, those in branches too. */
export function tasksOf(document: unknown): readonly (readonly [string, Node])[] {
  if (Array.isArray(document)) return document.flatMap(tasksOf);
  if (!isNode(document)) return [];
  const states = isNode(document["States"]) ? Object.entries(document["States"]) : [];
  const own = states.flatMap(([name, state]): [string, Node][] =>
    isNode(state) && state["Type"] === "Task" ? [[name, state]] : [],
  );
  return [...own, ...Object.values(document).flatMap(nested)];
}

function nested(value: unknown): readonly (readonly [string, Node])[] {
  if (Array.isArray(value)) return value.flatMap(tasksOf);
  if (!isNode(value)) return [];
  return "States" in value ? tasksOf(value) : Object.values(value).flatMap(nested);
}

/** The script that calls a state's function soonest, and how to put answers before the one it gets there. */
function shortestWay(bases: readonly Base[], state: string) {
  const ways = bases.flatMap((base) => {
    const at = base.observed.calls.findIndex((call) => call.state === state);
    return at < 0 ? [] : [{ base, at }];
  });
  const [best] = ways.sort((left, right) => left.at - right.at);
  const call = best?.base.observed.calls[best.at];
  if (best === undefined || call === undefined) return undefined;
  const key = callKey(call.name, call.payload);
  const before = best.base.observed.calls.slice(0, best.at);
  const used = before.filter(({ name, payload }) => callKey(name, payload) === key).length;
  const own = best.base.script.answers[key] ?? [];
  return {
    base: best.base,
    key,
    answer: own[Math.min(used, own.length - 1)] ?? {},
    answersWith: (injected: readonly Answer[]) => [...own.slice(0, used), ...injected, ...own.slice(used)],
  };
}

const never: Answer = {};
const fails = (error: string): Answer => ({ afterMs: 0, error, message: `injected ${error}` });

/** Answers to put before the usual one of a task, each with a name. */
function variations(
  task: Node,
  usual: Answer,
  concurrent: ReadonlySet<string>,
): readonly (readonly [string, readonly Answer[]])[] {
  const waits = String(task["Resource"]).endsWith(".waitForTaskToken");
  const timesOut = waits ? { afterMs: 0, result: null } : never;
  const failing = (error: string): Answer => {
    if (error === "States.Timeout" || error === "States.HeartbeatTimeout") return timesOut;
    return fails(error === "States.ALL" || error === "States.TaskFailed" ? UNKNOWN : error);
  };
  const rules = [...rulesOf(task, "Retry"), ...rulesOf(task, "Catch")];
  const once = rules.flatMap(({ errors }) =>
    errors.map((error): [string, Answer[]] => [`${error}, once`, [failing(error)]]),
  );
  const forGood = rulesOf(task, "Retry").flatMap(({ errors, attempts }) =>
    [errors[0], errors.find((error) => error === "States.Timeout")].flatMap((error): [string, Answer[]][] =>
      error === undefined ? [] : [[`${error}, for good`, Array.from({ length: attempts + 1 }, () => failing(error))]],
    ),
  );
  return [
    [UNKNOWN, [fails(UNKNOWN)]],
    ["the function never answers", [never]],
    ...once,
    ...forGood,
    ...(waits ? tokenVariations(rulesOf(task, "Retry")[0]?.errors[0] ?? UNKNOWN) : resultVariations(usual, concurrent)),
  ];
}

function tokenVariations(retried: string): readonly (readonly [string, readonly Answer[]])[] {
  const returned: Answer = { afterMs: 0, result: null };
  return [
    ["the token fails", [{ ...returned, token: { afterMs: 1000, error: UNKNOWN, cause: "no" } }]],
    [`the token fails with ${retried}`, [{ ...returned, token: { afterMs: 1000, error: retried, cause: "later" } }]],
    ["the token comes back at once", [{ ...returned, token: { afterMs: 0, output: {} } }]],
    [
      "the token comes back before the function",
      [{ afterMs: 2000, result: null, token: { afterMs: 1000, output: {} } }],
    ],
    ["the token comes back, the function never", [{ token: { afterMs: 1000, output: {} } }]],
    [
      "the token beats and comes back",
      [{ ...returned, beatsAfterMs: [500, 1000], token: { afterMs: 1500, output: {} } }],
    ],
  ];
}

/** The result gone, and each of its fields empty, strange or too large. */
function resultVariations(
  usual: Answer,
  concurrent: ReadonlySet<string>,
): readonly (readonly [string, readonly Answer[]])[] {
  const { result } = usual;
  const answer = (value: unknown): readonly Answer[] => [{ afterMs: 0, result: value }];
  if (!isNode(result)) return [["no result", answer(null)]];
  const fields = Object.entries(result).flatMap(([name, value]): [string, readonly Answer[]][] =>
    strangeValues(value, concurrent.has(name) ? TOO_MANY_AT_ONCE : TOO_LONG_SECONDS).map((strange) => [
      `${name} is ${JSON.stringify(strange)}`,
      answer({ ...result, [name]: strange }),
    ]),
  );
  return [["no result", answer(null)], ["an empty result", answer({})], ...fields];
}

function strangeValues(value: unknown, tooLarge: number): readonly unknown[] {
  if (typeof value === "string") return ["strange", null];
  if (typeof value === "number") return [0, -1, tooLarge];
  if (Array.isArray(value)) return [[], [...value, ...value]];
  return [null];
}

/** Fields that say how many items of a Map run at once. */
function concurrencyFields(document: unknown): ReadonlySet<string> {
  const paths = JSON.stringify(document).matchAll(/"MaxConcurrencyPath":"[^"]*\.(\w+)"/g);
  return new Set([...paths].map(([, name = ""]) => name));
}

function rulesOf(task: Node, field: "Retry" | "Catch"): readonly { errors: readonly string[]; attempts: number }[] {
  const list = task[field];
  if (!Array.isArray(list)) return [];
  return list.filter(isNode).map((rule) => ({
    errors: Array.isArray(rule["ErrorEquals"]) ? rule["ErrorEquals"].map(String) : [],
    attempts: typeof rule["MaxAttempts"] === "number" ? rule["MaxAttempts"] : 3,
  }));
}
