import type { ExecutionDescription, Workflows } from "#core/ports.ts";
import { callWithFaults, readFaults, writeFaults } from "./call-with-faults.ts";
import type { FaultPlan } from "./fault-plan.ts";

/** Workflows of which some calls fail, as the plan has it. */
export class FaultyWorkflows implements Workflows {
  readonly #inner: Workflows;
  readonly #plan: FaultPlan;

  constructor(inner: Workflows, plan: FaultPlan) {
    this.#inner = inner;
    this.#plan = plan;
  }

  start(machine: string, name: string, input: string): Promise<void> {
    return this.#write("start", () => this.#inner.start(machine, name, input));
  }

  describe(machine: string, name: string): Promise<ExecutionDescription | undefined> {
    return callWithFaults(this.#plan, "describe", readFaults, () => this.#inner.describe(machine, name));
  }

  stop(machine: string, name: string, error: string, cause: string): Promise<void> {
    return this.#write("stop", () => this.#inner.stop(machine, name, error, cause));
  }

  succeed(taskToken: string, output: string): Promise<void> {
    return this.#write("succeed", () => this.#inner.succeed(taskToken, output));
  }

  fail(taskToken: string, error: string, cause: string): Promise<void> {
    return this.#write("fail", () => this.#inner.fail(taskToken, error, cause));
  }

  heartbeat(taskToken: string): Promise<void> {
    return this.#write("heartbeat", () => this.#inner.heartbeat(taskToken));
  }

  #write(method: string, call: () => Promise<void>): Promise<void> {
    return callWithFaults(this.#plan, method, writeFaults, call);
  }
}
