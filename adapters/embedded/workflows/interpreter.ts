import { ExecutionAlreadyExists, NotFound, TaskTimedOut, Transient } from "#core/errors.ts";
import type { Clock, ExecutionDescription, ExecutionStatus, Log, Random, Workflows } from "#core/ports.ts";
import { assertExecutionName, parsePayload } from "#core/workflow-rules.ts";
import { parseMachine, substitute } from "./definition.ts";
import { event, type Frame, type HistoryEvent, type Outcome } from "./frame.ts";
import { parseJson } from "./json.ts";
import { type Host, Ledger } from "./ledger.ts";
import { CLOSE_GRACE_MS, INTERRUPTED_REST_MS } from "./limits.ts";
import { runExecution } from "./run-execution.ts";
import type { Machine } from "./states.ts";
import { describeRow, type ExecutionRow, WorkflowStore } from "./store.ts";
import { callFunction, type Invoke, type OpenToken } from "./task.ts";

/** A state machine: its ASL document and what its `${Name}` placeholders stand for. */
export interface MachineSource {
  readonly definition: unknown;
  readonly substitutions?: Readonly<Record<string, string>>;
}

export interface EmbeddedWorkflowsOptions {
  /** The SQLite file; `:memory:` forgets everything at close. */
  readonly file: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly machines: Readonly<Record<string, MachineSource>>;
  /** Calls a function. `signal` is aborted when the interpreter closes; the function is then called again after the next start. */
  readonly invoke: Invoke;
  /** Told of every event right after it is durable. When it throws, the interpreter halts there as if the process had died. */
  readonly onTransition?: (execution: { machine: string; name: string }, event: HistoryEvent) => void;
}

/**
 * `Workflows` for the embedded site: runs Amazon States Language documents as Step Functions Standard does, on one SQLite
 * file. Call `resume` once after the start. A task that was under way when the process died is called again, so tasks
 * must be idempotent; a task token stays valid. Running executions keep the document they were started with.
 */
export class EmbeddedWorkflows implements Workflows {
  readonly #store: WorkflowStore;
  readonly #options: EmbeddedWorkflowsOptions;
  readonly #machines = new Map<string, { readonly text: string; readonly machine: Machine }>();
  readonly #tokens = new Map<string, OpenToken>();
  readonly #live = new Map<number, Ledger>();
  /** Executions and functions under way, which `close` waits for. */
  readonly #busy = new Set<Promise<unknown>>();
  readonly #shutdown = new AbortController();
  readonly #host: Host;
  #resumed = false;
  #closed: Promise<void> | undefined;

  /** Throws `InvalidDefinition` for a document that this interpreter would not run as Step Functions does. */
  constructor(options: EmbeddedWorkflowsOptions) {
    this.#options = options;
    for (const [name, { definition, substitutions = {} }] of Object.entries(options.machines)) {
      const document = substitute(definition, substitutions);
      this.#machines.set(name, { text: JSON.stringify(document), machine: parseMachine(document) });
    }
    this.#store = new WorkflowStore(options.file);
    const { clock, random, invoke } = options;
    this.#host = {
      store: this.#store,
      clock,
      random,
      tokens: this.#tokens,
      call: (functionName, payload) => this.#track(callFunction(invoke, functionName, payload, this.#shutdown.signal)),
      emit: (row, item) => this.#emit(row, item),
    };
  }

  async start(machine: string, name: string, input: string): Promise<void> {
    this.#check();
    const source = this.#machines.get(machine);
    if (source === undefined) throw new NotFound(`there is no state machine ${machine}`, { machine });
    assertExecutionName(name);
    const data = parsePayload(input, "input");
    const known = this.#store.find(machine, name);
    if (known !== undefined) {
      if (known.status === "RUNNING" && known.input === input) return;
      const why = known.status === "RUNNING" ? "runs with another input" : `has ended: ${known.status}`;
      throw new ExecutionAlreadyExists(`${machine} ${name} ${why}`, { machine, name });
    }
    const now = this.#options.clock.now();
    const root: Frame = {
      id: 0,
      parent: undefined,
      index: 0,
      item: undefined,
      state: source.machine.startAt,
      input: data,
      entered: undefined,
      retries: [],
      phase: { at: "enter" },
    };
    const first = { ...event("ExecutionStarted"), id: 1, timestamp: now };
    const row = this.#store.create({ machine, name, input, started_at: now }, source.text, root, first);
    this.#emit(row, first);
    this.#run(new Ledger(this.#host, row, [root]), source.machine);
  }

  async describe(machine: string, name: string): Promise<ExecutionDescription | undefined> {
    this.#check();
    const row = this.#store.find(machine, name);
    return row === undefined ? undefined : describeRow(row);
  }

  async stop(machine: string, name: string, error: string, cause: string): Promise<void> {
    this.#check();
    const row = this.#store.find(machine, name);
    if (row?.status !== "RUNNING") return;
    const ledger = this.#live.get(row.id) ?? this.#load(row);
    ledger.end({ status: "ABORTED", error, cause }, event("ExecutionAborted", undefined, { error, cause }));
  }

  async succeed(taskToken: string, output: string): Promise<void> {
    this.#answer(taskToken, { result: parsePayload(output, "output") });
  }

  async fail(taskToken: string, error: string, cause: string): Promise<void> {
    this.#answer(taskToken, { error, cause });
  }

  async heartbeat(taskToken: string): Promise<void> {
    this.#open(taskToken).beat();
  }

  /** Goes on with every RUNNING execution that is not under way here; answers how many. */
  async resume(): Promise<number> {
    this.#check();
    this.#resumed = true;
    const rows = this.#store.list(undefined, "RUNNING").filter((row) => !this.#live.has(row.id));
    // All tokens are open again before the first execution moves.
    const loaded = rows.map((row) => this.#load(row));
    for (const ledger of loaded) this.#run(ledger, this.#machineOf(ledger.row));
    return rows.length;
  }

  /** Executions of a machine, oldest first. */
  async list(machine: string, options: { status?: ExecutionStatus } = {}): Promise<readonly ExecutionDescription[]> {
    this.#check();
    return this.#store.list(machine, options.status).map(describeRow);
  }

  /** The events of an execution in order; empty when there is no such execution. */
  async history(machine: string, name: string): Promise<readonly HistoryEvent[]> {
    this.#check();
    const row = this.#store.find(machine, name);
    return row === undefined ? [] : this.#store.history(row.id);
  }

  /**
   * Stops everything: no state is entered and nothing recorded from here on. Functions under way are told by their signal
   * and waited for, for at most `CLOSE_GRACE_MS`; the next start calls them again. Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#halt();
    const grace = new AbortController();
    const waiting = this.#options.clock.sleep(CLOSE_GRACE_MS, grace.signal);
    await Promise.race([Promise.allSettled([...this.#busy]), waiting]);
    grace.abort();
    await Promise.allSettled([waiting]);
    this.#store.close();
  }

  #halt(): void {
    this.#shutdown.abort(new Transient("the workflows of this site are closed"));
    for (const ledger of this.#live.values()) ledger.abandon();
  }

  #check(): void {
    this.#shutdown.signal.throwIfAborted();
  }

  #open(taskToken: string): OpenToken {
    this.#check();
    const open = this.#tokens.get(taskToken);
    if (open !== undefined) return open;
    if (!this.#resumed && this.#store.list(undefined, "RUNNING").length > this.#live.size) {
      throw new Transient("the workflows of this site have not been resumed yet");
    }
    throw new TaskTimedOut("the task token is spent, stale or unknown");
  }

  #answer(taskToken: string, outcome: Outcome): void {
    this.#open(taskToken).answer(outcome);
  }

  #load(row: ExecutionRow): Ledger {
    return new Ledger(this.#host, row, this.#store.frames(row.id));
  }

  #machineOf(row: ExecutionRow): Machine {
    return parseMachine(parseJson(this.#store.definition(row.definition)));
  }

  #run(ledger: Ledger, machine: Machine): void {
    this.#live.set(ledger.row.id, ledger);
    this.#track(this.#runToTheEnd(ledger, machine));
  }

  async #runToTheEnd(ledger: Ledger, machine: Machine): Promise<void> {
    const { id, machine: machineName, name } = ledger.row;
    try {
      await runExecution(this.#host, ledger, machine);
      this.#live.delete(id);
    } catch (error) {
      // No failure of the workflow: the store or the program is in trouble. What is durable is taken up again later.
      this.#options.log.error("workflow-interrupted", { machine: machineName, name, error });
      this.#live.delete(id);
      this.#track(this.#takeUpAgain(machineName, name));
    }
  }

  async #takeUpAgain(machine: string, name: string): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#shutdown;
    while (!signal.aborted) {
      try {
        await clock.sleep(INTERRUPTED_REST_MS, signal);
        const row = this.#store.find(machine, name);
        if (row?.status !== "RUNNING" || this.#live.has(row.id)) return;
        const definition = this.#machineOf(row);
        this.#run(this.#load(row), definition);
        return;
      } catch (error) {
        if (!signal.aborted) log.error("workflow-interrupted", { machine, name, error });
      }
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work);
    void work.finally(() => this.#busy.delete(work));
    return work;
  }

  #emit({ machine, name }: ExecutionRow, item: HistoryEvent): void {
    try {
      this.#options.onTransition?.({ machine, name }, item);
    } catch (error) {
      this.#halt();
      throw error;
    }
  }
}
