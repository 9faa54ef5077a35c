import type { Clock } from "#core/ports.ts";
import type { Outcome, TaskPhase } from "./frame.ts";
import { type Json, toJson } from "./json.ts";
import { SLEEP_MS_MAX } from "./limits.ts";

/** Calls a function of the site by its name; what it throws becomes the task's error. */
export type Invoke = (functionName: string, payload: unknown, signal: AbortSignal) => Promise<unknown>;

/**
 * Sleeps to an absolute time, however far; rejects with the signal's reason. Never for longer than it was to that time at the
 * beginning: a clock that was ahead and is set right would keep it waiting for as long as it had been wrong.
 */
export async function sleepUntil(clock: Clock, at: number, signal: AbortSignal): Promise<void> {
  const endsAt = clock.monotonic() + at - clock.now();
  const left = (): number => Math.min(at - clock.now(), endsAt - clock.monotonic());
  for (let ms = left(); ms > 0; ms = left()) await clock.sleep(Math.min(ms, SLEEP_MS_MAX), signal);
  signal.throwIfAborted();
}

/** A token that may still be answered. */
export class OpenToken {
  readonly phase: TaskPhase;
  /** The first answer; it is durable by then. */
  readonly answered: Promise<Outcome>;
  /** When the next heartbeat is overdue; monotonic, as only this process waits for it. */
  heartbeatAt = Number.POSITIVE_INFINITY;
  readonly #clock: Clock;
  readonly #save: (outcome: Outcome) => void;
  #resolve: (outcome: Outcome) => void = () => {};

  /** `save` makes the outcome durable. The heartbeat's time starts now: while a site is down nobody could beat. */
  constructor(phase: TaskPhase, clock: Clock, save: (outcome: Outcome) => void) {
    this.phase = phase;
    this.#clock = clock;
    this.#save = save;
    this.answered = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.beat();
  }

  answer(outcome: Outcome): void {
    this.#save(outcome);
    this.#resolve(outcome);
  }

  beat(): void {
    const { heartbeatSeconds } = this.phase;
    if (heartbeatSeconds !== undefined) this.heartbeatAt = this.#clock.monotonic() + heartbeatSeconds * 1000;
  }
}

/** A function's answer as Lambda gives it: its result as JSON, or the error's name and a cause in Lambda's form. */
export async function callFunction(invoke: Invoke, name: string, payload: Json, signal: AbortSignal): Promise<Outcome> {
  let result: unknown;
  try {
    result = await invoke(name, toJson(payload), signal);
  } catch (error) {
    return error instanceof Error ? failed(error.name, error.message) : failed(typeof error, String(error));
  }
  try {
    return { result: toJson(result) };
  } catch (error) {
    return failed("Runtime.MarshalError", `Unable to stringify response body: ${error}`);
  }
}

function failed(errorType: string, errorMessage: string): Outcome {
  return { error: errorType, cause: JSON.stringify({ errorType, errorMessage, trace: [] }) };
}

/**
 * Waits for the end of a task: its function's answer, or the token's, or a timeout. `open` belongs to a task with token;
 * `submitted` is called when its function has returned. Rejects with the signal's reason.
 */
export async function awaitTask(
  phase: TaskPhase,
  open: OpenToken | undefined,
  call: () => Promise<Outcome>,
  submitted: () => void,
  clock: Clock,
  signal: AbortSignal,
): Promise<Outcome> {
  if (phase.outcome !== undefined) return phase.outcome;
  const race = new AbortController();
  const inner = AbortSignal.any([signal, race.signal]);
  try {
    const ends = [timeLimit(phase, clock, inner)];
    if (open === undefined) return await Promise.race([call(), ...ends]);
    ends.push(open.answered);
    if (phase.heartbeatSeconds !== undefined) ends.push(heartbeatLimit(open, clock, inner));
    if (!phase.submitted) {
      const returned = call().then((outcome) => ({ returned: outcome }));
      const first = await Promise.race([...ends, returned]);
      if (!("returned" in first)) return first;
      if ("error" in first.returned) return first.returned;
      submitted();
    }
    return await Promise.race(ends);
  } finally {
    race.abort();
  }
}

async function timeLimit(phase: TaskPhase, clock: Clock, signal: AbortSignal): Promise<Outcome> {
  await sleepUntil(clock, phase.timeoutAt, signal);
  return { error: "States.Timeout", cause: "", timedOut: "task" };
}

async function heartbeatLimit(open: OpenToken, clock: Clock, signal: AbortSignal): Promise<Outcome> {
  const left = (): number => open.heartbeatAt - clock.monotonic();
  for (let ms = left(); ms > 0; ms = left()) await clock.sleep(Math.min(ms, SLEEP_MS_MAX), signal);
  return { error: "States.Timeout", cause: "", timedOut: "heartbeat" };
}
