import type { Clock, Workflows } from "#core/ports.ts";
import { type Answer, callKey, tokenOf, type Wake } from "./script.ts";

type Mutable<T> = { -readonly [Field in keyof T]: T[Field] };

/** Watches the functions and tokens of an execution, and keeps how each answered, for a script. */
export class Recorder {
  readonly #clock: Clock;
  /** Grows with every call. */
  readonly answers: Record<string, Mutable<Answer>[]> = {};
  readonly #tokens = new Map<string, { readonly at: number; readonly answer: Mutable<Answer> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Makes the call and keeps what came of it. */
  async call(name: string, payload: unknown, work: () => Promise<unknown>): Promise<unknown> {
    const at = this.#clock.now();
    const answer: Mutable<Answer> = {};
    const key = callKey(name, payload);
    this.answers[key] = [...(this.answers[key] ?? []), answer];
    const token = tokenOf(payload);
    if (token !== undefined) this.#tokens.set(token, { at, answer });
    try {
      const result = await work();
      Object.assign(answer, { afterMs: this.#clock.now() - at, result: JSON.parse(JSON.stringify(result ?? null)) });
      return result;
    } catch (error) {
      const { name: errorName, message } = error instanceof Error ? error : new Error(String(error));
      Object.assign(answer, { afterMs: this.#clock.now() - at, error: errorName, message });
      throw error;
    }
  }

  /** The same workflows; what is accepted of a token's answers is kept. */
  watch(workflows: Workflows): Workflows {
    return {
      start: (...input) => workflows.start(...input),
      describe: (...input) => workflows.describe(...input),
      stop: (...input) => workflows.stop(...input),
      succeed: async (token, output) => {
        await workflows.succeed(token, output);
        this.#woken(token, (afterMs) => ({ afterMs, output: JSON.parse(output) }));
      },
      fail: async (token, error, cause) => {
        await workflows.fail(token, error, cause);
        this.#woken(token, (afterMs) => ({ afterMs, error, cause }));
      },
      heartbeat: async (token) => {
        await workflows.heartbeat(token);
        const given = this.#tokens.get(token);
        if (given === undefined) return;
        given.answer.beatsAfterMs = [...(given.answer.beatsAfterMs ?? []), this.#clock.now() - given.at];
      },
    };
  }

  #woken(token: string, outcome: (afterMs: number) => Wake): void {
    const given = this.#tokens.get(token);
    if (given !== undefined) given.answer.token = outcome(this.#clock.now() - given.at);
  }
}
