import { Corrupt } from "#core/errors.ts";
import { contextOf } from "./context.ts";
import { checkSize, filterOutput, inputScope, produceOutput, sizeFailure } from "./data-flow.ts";
import { enterState, resourceOf } from "./enter.ts";
import { ExpressSteps } from "./express.ts";
import { StatesFailure } from "./failure.ts";
import { event, type Frame, type NewEvent, type Phase, type TaskPhase } from "./frame.ts";
import { runGroup } from "./group.ts";
import { type Json, parseJson } from "./json.ts";
import type { Host, Steps } from "./ledger.ts";
import { placeAt } from "./paths.ts";
import { decideRetry, matches } from "./retry.ts";
import type { Machine, State } from "./states.ts";
import { awaitTask, sleepUntil } from "./task.ts";

type Container = Extract<State, { type: "Map" | "Parallel" }>;
type Children = Extract<Phase, { at: "children" }>;

/**
 * One running execution. Its frames in memory are what the store holds; every step changes them, commits, and only then
 * acts on it. So a process may die anywhere: the next one loads the frames and goes on from the last commit.
 */
export class Execution {
  readonly #host: Host;
  readonly #ledger: Steps;
  readonly #machine: Machine;
  readonly #input: Json;

  constructor(host: Host, ledger: Steps, machine: Machine) {
    this.#host = host;
    this.#ledger = ledger;
    this.#machine = machine;
    this.#input = parseJson(ledger.row.input);
  }

  /** Runs a frame to its end: its output, or the failure that nothing in it caught. */
  async advance(frame: Frame, signal: AbortSignal): Promise<Json> {
    for (;;) {
      signal.throwIfAborted();
      const { phase } = frame;
      if (phase.at === "done") return phase.output;
      if (phase.at === "failed") throw new StatesFailure(phase.error, phase.cause, phase.heartbeat);
      const events: NewEvent[] = [];
      try {
        await this.#step(frame, phase, events, signal);
      } catch (error) {
        if (!(error instanceof StatesFailure)) throw error;
        this.#fail(frame, error, events);
      }
    }
  }

  /** Lives through one phase and commits what follows. `events` are those of a step that fails on the way. */
  async #step(
    frame: Frame,
    phase: Exclude<Phase, { at: "done" | "failed" }>,
    events: NewEvent[],
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#host;
    const state = this.#state(frame);
    switch (phase.at) {
      case "enter":
        return this.#enter(frame, state, events);
      case "retry":
        await sleepUntil(clock, phase.until, signal);
        frame.phase = { at: "enter" };
        return;
      case "wait": {
        await sleepUntil(clock, phase.until, signal);
        if (state.type !== "Wait") throw new Corrupt(`${state.name} is not a Wait`);
        const output = filterOutput(state, inputScope(state, frame, this.#context(frame), this.#host.random));
        return this.#leave(frame, state, output, state.next, events);
      }
      case "task":
        return this.#runTask(frame, state, phase, events, signal);
      case "children": {
        if (state.type !== "Map" && state.type !== "Parallel") throw new Corrupt(`${state.name} has no branches`);
        const results = await this.#runChildren(frame, state, phase, events, signal);
        events.push(event(`${state.type}StateSucceeded`, state.name));
        const output = produceOutput(state, frame, results, this.#context(frame), this.#host.random);
        return this.#leave(frame, state, output, state.next, events, this.#ledger.frames.below(frame));
      }
    }
  }

  async #runTask(frame: Frame, state: State, phase: TaskPhase, events: NewEvent[], signal: AbortSignal): Promise<void> {
    if (state.type !== "Task") throw new Corrupt(`${state.name} is not a Task`);
    const resource = resourceOf(state);
    const submitted = (): void => {
      phase.submitted = true;
      this.#ledger.commit([event("TaskSubmitted", state.name, resource)], [frame]);
    };
    const open = this.#host.tokens.get(phase.token ?? "");
    const call = () => this.#host.call(phase.functionName, phase.payload);
    const early = await awaitTask(phase, open, call, submitted, this.#host.clock, signal);
    // What the token brought is durable, and was promised to whoever sent it: it goes before a timeout or a function that throws.
    const outcome = phase.outcome ?? early;
    this.#ledger.closeToken(frame);
    if ("error" in outcome) {
      const { error, cause, timedOut } = outcome;
      events.push(event(timedOut ? "TaskTimedOut" : "TaskFailed", state.name, { ...resource, error, cause }));
      throw new StatesFailure(error, cause, timedOut === "heartbeat");
    }
    const result = state.waitForToken
      ? outcome.result
      : { ExecutedVersion: "$LATEST", Payload: outcome.result, StatusCode: 200 };
    const tooLarge = sizeFailure(state.name, result);
    if (tooLarge !== undefined) {
      events.push(event("TaskFailed", state.name, { ...resource, error: tooLarge.error, cause: tooLarge.reason }));
      throw tooLarge;
    }
    events.push(event("TaskSucceeded", state.name, resource));
    const output = produceOutput(state, frame, result, this.#context(frame), this.#host.random);
    this.#leave(frame, state, output, state.next, events);
  }

  #enter(frame: Frame, state: State, events: NewEvent[]): void {
    const now = this.#host.clock.now();
    if (frame.entered === undefined) {
      frame.entered = now;
      events.push(event(`${state.type}StateEntered`, state.name));
    }
    const entered = enterState(state, frame, {
      now,
      random: this.#host.random,
      context: (extra) => this.#context(frame, extra),
    });
    if (entered.kind === "over") {
      this.#leave(frame, state, entered.output, entered.next, events);
      return;
    }
    frame.phase = entered.phase;
    // Before the commit: whoever is told of the event may answer at once.
    if (entered.phase.at === "task" && entered.phase.token !== undefined) this.#ledger.openToken(frame);
    this.#ledger.commit([...events, ...entered.events], [frame]);
  }

  /** Exits the state, to the next one or to the frame's end (`next` undefined). */
  #leave(
    frame: Frame,
    state: State,
    output: Json,
    next: string | undefined,
    events: readonly NewEvent[],
    remove: readonly Frame[] = [],
  ): void {
    const exited = event(`${state.type}StateExited`, state.name);
    if (next === undefined) {
      frame.phase = { at: "done", output };
      this.#ledger.commit(
        [...events, exited, ...this.#ledger.frames.iterationEvent(frame, "Succeeded")],
        [frame],
        remove,
      );
      return;
    }
    frame.state = next;
    frame.input = output;
    frame.entered = undefined;
    frame.retries = [];
    frame.phase = { at: "enter" };
    this.#ledger.commit([...events, exited], [frame], remove);
  }

  /** What Retry and Catch of the state make of a failure; without them the frame fails. */
  #fail(frame: Frame, failure: StatesFailure, before: readonly NewEvent[]): void {
    const state = this.#state(frame);
    const { clock, random } = this.#host;
    const remove = this.#ledger.frames.below(frame);
    const events = [...before, ...remove.flatMap((child) => this.#aborted(child))];
    const handled = "retry" in state ? state : undefined;
    const retry = decideRetry(handled?.retry ?? [], frame.retries, failure, random);
    if (retry !== undefined && handled !== undefined) {
      const retries = handled.retry.map((_, i) => (frame.retries[i] ?? 0) + (i === retry.retrier ? 1 : 0));
      frame.retries = retries;
      frame.phase = { at: "retry", until: clock.now() + retry.delayMs, ms: retry.delayMs };
      this.#ledger.commit(events, [frame], remove);
      return;
    }
    if (state.type === "Map" || state.type === "Parallel") events.push(event(`${state.type}StateFailed`, state.name));
    const catcher = handled?.catch.find((item) => matches(item.errors, failure));
    let uncaught = failure;
    if (catcher !== undefined) {
      try {
        const output = checkSize(state.name, placeAt(catcher.resultPath, frame.input, failure.output()));
        this.#leave(frame, state, output, catcher.next, events, remove);
        return;
      } catch (error) {
        if (!(error instanceof StatesFailure)) throw error;
        uncaught = error;
      }
    }
    frame.phase = { at: "failed", error: uncaught.error, cause: uncaught.reason, heartbeat: uncaught.heartbeat };
    this.#ledger.commit([...events, ...this.#ledger.frames.iterationEvent(frame, "Failed")], [frame], remove);
  }

  /** Runs the branches or iterations; the first failure abandons the rest. `events` are told when the state ends. */
  async #runChildren(
    frame: Frame,
    state: Container,
    phase: Children,
    events: NewEvent[],
    signal: AbortSignal,
  ): Promise<readonly Json[]> {
    const present = new Map(this.#ledger.frames.childrenOf(frame).map((child) => [child.index, child]));
    const broken = [...present.values()].find((child) => child.phase.at === "failed");
    // A failure found after a restart: it is thrown before any sibling moves.
    if (broken !== undefined) return [await this.advance(broken, signal)];
    const one = (index: number, inner: AbortSignal): Promise<Json> =>
      this.advance(present.get(index) ?? this.#spawn(frame, phase, index), inner);
    if (state.type === "Parallel" || !state.distributed) {
      return runGroup(phase.starts.length, phase.atOnce, signal, one);
    }
    try {
      const results = await runGroup(phase.starts.length, phase.atOnce, signal, async (index, inner) =>
        present.has(index) ? one(index, inner) : this.#runExpress(frame, phase, index, inner),
      );
      events.push(event("MapRunSucceeded", state.name));
      return results;
    } catch (error) {
      if (!(error instanceof StatesFailure)) throw error;
      events.push(event("MapRunFailed", state.name));
      // What the child failed of stands in its own history; without tolerance its number alone is the Map's error.
      throw new StatesFailure(
        "States.ExceedToleratedFailureThreshold",
        "The specified tolerated failure threshold was exceeded",
      );
    }
  }

  /** An item of a distributed Map as an execution of its own: nothing of it is durable before its output is. */
  async #runExpress(parent: Frame, phase: Children, index: number, signal: AbortSignal): Promise<Json> {
    const child = this.#childOf(parent, phase, index);
    const steps = new ExpressSteps(this.#ledger.row, child, this.#host.clock.now(), signal);
    const output = await steps.bounded(this.#host.clock, (inner) =>
      new Execution(this.#host, steps, this.#machine).advance(steps.root, inner),
    );
    // Siblings have been given numbers meanwhile.
    const ended: Frame = { ...child, id: this.#ledger.frames.nextId(), phase: { at: "done", output } };
    this.#ledger.frames.add(ended);
    this.#ledger.commit([], [ended]);
    return output;
  }

  #spawn(parent: Frame, phase: Children, index: number): Frame {
    const child = this.#childOf(parent, phase, index);
    this.#ledger.frames.add(child);
    this.#ledger.commit(this.#ledger.frames.iterationEvent(child, "Started"), [child]);
    return child;
  }

  #childOf(parent: Frame, phase: Children, index: number): Frame {
    return {
      id: this.#ledger.frames.nextId(),
      parent: parent.id,
      index,
      item: phase.items?.[index],
      state: phase.starts[index] ?? "",
      input: phase.inputs[index] ?? null,
      entered: undefined,
      retries: [],
      phase: { at: "enter" },
    };
  }

  #aborted(frame: Frame): readonly NewEvent[] {
    if (frame.phase.at === "done" || frame.phase.at === "failed") return [];
    const state = this.#state(frame);
    const inside = frame.entered === undefined ? [] : [event(`${state.type}StateAborted`, state.name)];
    return [...inside, ...this.#ledger.frames.iterationEvent(frame, "Aborted")];
  }

  #state(frame: Frame): State {
    const state = this.#machine.states.get(frame.state);
    if (state === undefined) throw new Corrupt(`there is no state ${frame.state} in ${this.#ledger.row.machine}`);
    return state;
  }

  #context(frame: Frame, extra: { token?: string; item?: { index: number; value: Json } } = {}) {
    const { machine, name, started_at: startedAt } = this.#ledger.row;
    const item = extra.item ?? this.#ledger.frames.itemOf(frame);
    return contextOf({ machine, name, input: this.#input, startedAt }, frame, item, extra.token);
  }
}
