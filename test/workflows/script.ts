import type { Workflows } from "#core/ports.ts";
import { workflowRun } from "../kit/workflow-run.ts";

/** What brings a task's token back, counted from the call that was given it. */
export type Wake =
  | { readonly afterMs: number; readonly output: unknown }
  | { readonly afterMs: number; readonly error: string; readonly cause: string };

/** How a mocked function answers one call: by a result or an error, or (without `afterMs`) never. */
export interface Answer {
  readonly afterMs?: number;
  readonly result?: unknown;
  readonly error?: string;
  readonly message?: string;
  /** Without it nobody answers the token. */
  readonly token?: Wake;
  readonly beatsAfterMs?: readonly number[];
}

/**
 * One execution whose functions are mocked: everything an interpreter needs. Answers are by `callKey`, else by the name of the
 * function alone; the n-th call gets the n-th, and the last one again after that.
 */
export interface Script {
  readonly name: string;
  /** With its placeholders replaced by the names of functions. */
  readonly document: unknown;
  readonly input: unknown;
  readonly answers: Readonly<Record<string, readonly Answer[]>>;
}

/** What an interpreter made of a script. */
export interface Observed {
  readonly status: string;
  readonly error: string | null;
  readonly cause: string | null;
  readonly output: unknown;
  /** Since the start, as in `calls`. */
  readonly endedAtMs: number;
  /** The states entered, in order. */
  readonly states: readonly string[];
  /** The types of the history's events. */
  readonly events: readonly string[];
  readonly calls: readonly ObservedCall[];
}

/** A call of a function: when, by which state, and with what, its token replaced by a word. */
export interface ObservedCall {
  readonly atMs: number;
  readonly state: string;
  readonly name: string;
  readonly payload: unknown;
}

/** The payload's field that carries a task token, by a convention of workflows/. */
const TOKEN_FIELD = "taskToken";

type Node = Record<string, unknown>;

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A copy with the fields of every object in order of their names, without those that `drop` names. */
function canonical(value: unknown, drop: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((inner) => canonical(inner, drop));
  if (!isNode(value)) return value;
  const fields = Object.entries(value).filter(([name]) => !drop.includes(name));
  const sorted = fields.sort(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, inner]) => [name, canonical(inner, drop)]));
}

/**
 * What tells one task's calls from another's: the function and its payload without the token and without causes, which are
 * an interpreter's prose. Equal to `call_key` of moto/run.py.
 */
export function callKey(name: string, payload: unknown): string {
  return `${name} ${JSON.stringify(canonical(payload, [TOKEN_FIELD, "Cause"]))}`;
}

/** The token in a payload, if there is one. */
export function tokenOf(payload: unknown): string | undefined {
  const token = isNode(payload) ? payload[TOKEN_FIELD] : undefined;
  return typeof token === "string" ? token : undefined;
}

/** The names that a document calls functions by. */
function functionNames(document: unknown): readonly string[] {
  if (Array.isArray(document)) return document.flatMap(functionNames);
  if (!isNode(document)) return [];
  const own = document["FunctionName"];
  return [...(typeof own === "string" ? [own] : []), ...Object.values(document).flatMap(functionNames)];
}

/** The tasks of distributed Maps by the function that each calls: their calls stand in no history. */
function distributedTasks(value: unknown, inside = false): ReadonlyMap<string, string> {
  if (Array.isArray(value)) return new Map(value.flatMap((inner) => [...distributedTasks(inner, inside)]));
  if (!isNode(value)) return new Map();
  const config = value["ProcessorConfig"];
  const within = inside || (isNode(config) && config["Mode"] === "DISTRIBUTED");
  const states = within && isNode(value["States"]) ? Object.entries(value["States"]) : [];
  const own = states.flatMap(([name, state]): [string, string][] =>
    functionNames(state).map((called) => [called, name]),
  );
  return new Map([...own, ...Object.values(value).flatMap((inner) => [...distributedTasks(inner, within)])]);
}

/** Runs a script on the embedded interpreter. */
export async function observeEmbedded({ document, input, answers }: Script): Promise<Observed> {
  const used = new Map<string, number>();
  const call = async (name: string, payload: unknown): Promise<unknown> => {
    const key = callKey(name, payload);
    const own = answers[key] ?? answers[name];
    if (own === undefined) throw Object.assign(new Error(key), { name: "NoAnswer" });
    const count = used.get(key) ?? 0;
    used.set(key, count + 1);
    const answer = own[Math.min(count, own.length - 1)] ?? {};
    const token = tokenOf(payload);
    if (token !== undefined) wake(token, answer);
    return await answered(answer);
  };
  const run = workflowRun(
    { m: document },
    { functions: Object.fromEntries(functionNames(document).map((name) => [name, (payload) => call(name, payload)])) },
  );
  const { clock, workflows } = run;
  const startedAt = clock.now();
  const later = async (afterMs: number, act: () => Promise<void>): Promise<void> => {
    // Even 0 ms is later than the return of the function that is called now.
    await clock.sleep(afterMs);
    // A token that is spent or stale by then is nobody's.
    await act().catch(() => undefined);
  };
  const wake = (token: string, { token: outcome, beatsAfterMs = [] }: Answer): void => {
    for (const at of beatsAfterMs) void later(at, () => workflows.heartbeat(token));
    if (outcome !== undefined) void later(outcome.afterMs, () => bring(workflows, token, outcome));
  };
  const answered = async ({ afterMs, result, error, message }: Answer): Promise<unknown> => {
    if (afterMs === undefined) return new Promise(() => {});
    if (afterMs > 0) await clock.sleep(afterMs);
    if (error !== undefined) throw Object.assign(new Error(message), { name: error });
    return result;
  };
  try {
    const found = await run.run(input);
    const history = await workflows.history("m", "m");
    const callers = history.filter(({ type }) => type === "TaskScheduled").map(({ state }) => state ?? "");
    const elsewhere = distributedTasks(document);
    const calls = run.calls.map(({ name, payload, at }) => ({
      atMs: at - startedAt,
      state: elsewhere.get(name) ?? callers.shift() ?? "",
      name,
      payload: withoutToken(payload),
    }));
    return {
      status: found.status,
      error: found.error ?? null,
      cause: found.cause ?? null,
      output: found.output === undefined ? null : JSON.parse(found.output),
      endedAtMs: (found.stoppedAt ?? Number.NaN) - startedAt,
      states: history.filter(({ type }) => type.endsWith("StateEntered")).map(({ state }) => state ?? ""),
      events: history.map(({ type }) => type),
      calls,
    };
  } finally {
    await run.close();
  }
}

function withoutToken(payload: unknown): unknown {
  return tokenOf(payload) === undefined || !isNode(payload) ? payload : { ...payload, [TOKEN_FIELD]: "TOKEN" };
}

async function bring(workflows: Workflows, token: string, outcome: Wake): Promise<void> {
  if ("error" in outcome) await workflows.fail(token, outcome.error, outcome.cause);
  else await workflows.succeed(token, JSON.stringify(outcome.output));
}
