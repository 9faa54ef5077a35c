import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { ExecutionDescription } from "#core/ports.ts";
import { VirtualClock } from "../../../test/kit/virtual-clock.ts";
import {
  machineOf,
  taskOf,
  tokenIn,
  tokenTaskOf,
  type WorkflowRun,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

/** Every kind of state, with retries, a caught failure, a missed heartbeat and work side by side. */
const document = machineOf(
  {
    First: { Type: "Pass", Result: [1, 2, 3], ResultPath: "$.items", Next: "Flaky" },
    Flaky: taskOf("flaky", {
      Retry: [{ ErrorEquals: ["Busy"], IntervalSeconds: 5, MaxAttempts: 9 }],
      ResultPath: "$.flaky",
      OutputPath: "$",
      Next: "Rest",
    }),
    Rest: { Type: "Wait", Seconds: 30, Next: "Which" },
    Which: {
      Type: "Choice",
      Choices: [{ Variable: "$.flaky.answer", StringEquals: "done", Next: "Both" }],
      Default: "Wrong",
    },
    Both: {
      Type: "Parallel",
      Branches: [
        { StartAt: "Ask", States: { Ask: tokenTaskOf("keep", { HeartbeatSeconds: 60 }) } },
        {
          StartAt: "Each",
          States: {
            Each: {
              Type: "Map",
              ItemsPath: "$.items",
              MaxConcurrency: 2,
              ItemProcessor: {
                StartAt: "Pause",
                States: { Pause: { Type: "Wait", Seconds: 2, Next: "Double" }, Double: taskOf("double") },
              },
              End: true,
            },
          },
        },
      ],
      ResultPath: "$.both",
      Next: "Silent",
    },
    Silent: tokenTaskOf("lose", {
      HeartbeatSeconds: 10,
      ResultPath: null,
      Catch: [{ ErrorEquals: ["States.HeartbeatTimeout"], Next: "Refused", ResultPath: "$.silent" }],
      Next: "Wrong",
    }),
    Refused: taskOf("refuse", {
      Catch: [{ ErrorEquals: ["Refusal"], Next: "Last", ResultPath: "$.refused" }],
      Next: "Wrong",
    }),
    Last: { Type: "Succeed" },
    Wrong: { Type: "Fail", Error: "Wrong" },
  },
  { TimeoutSeconds: 3600 },
);

class Died extends Error {}

/** The world outside of the workflows, which outlives every interpreter. */
class World {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(1);
  readonly #file: string;
  #busy = 2;
  readonly #unanswered = new Set<string>();
  readonly #dead: WorkflowRun[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  /** A new interpreter that dies after its `lives`-th event. */
  open(lives: number): { run: WorkflowRun; dead: () => boolean } {
    let seen = 0;
    const run = workflowRun(
      { m: document },
      {
        file: this.#file,
        clock: this.clock,
        random: this.random,
        onTransition: () => {
          if (++seen === lives) throw new Died();
        },
        functions: {
          flaky: () => {
            if (this.#busy-- > 0) throw Object.assign(new Error(), { name: "Busy" });
            return "done";
          },
          keep: (payload) => {
            this.#unanswered.add(tokenIn(payload));
          },
          lose: () => null,
          double: (n) => Number(n) * 2,
          refuse: () => {
            throw Object.assign(new Error("no"), { name: "Refusal" });
          },
        },
      },
    );
    this.#dead.push(run);
    return { run, dead: () => seen >= lives };
  }

  /** Lives with one interpreter to the execution's end, or to its own. */
  async live(lives: number): Promise<{ died: boolean; found: ExecutionDescription | undefined; run: WorkflowRun }> {
    const { run, dead } = this.open(lives);
    const { workflows } = run;
    try {
      await workflows.resume();
      const known = await workflows.describe("m", "m");
      if (known === undefined) await workflows.start("m", "m", '{"x":1}');
      for (;;) {
        await this.clock.settle();
        const found = await workflows.describe("m", "m");
        if (found?.status !== "RUNNING") return { died: false, found, run };
        await this.#answer(run);
        if (!dead() && !(await this.clock.step())) throw new Error("it hangs");
      }
    } catch (error) {
      if (!dead()) throw error;
      return { died: true, found: undefined, run };
    }
  }

  /** Somebody answers each token, twice as people do. */
  async #answer({ workflows }: WorkflowRun): Promise<void> {
    for (const token of this.#unanswered) {
      await workflows.succeed(token, '"yes"');
      await expect(workflows.succeed(token, '"again"')).rejects.toMatchObject({ name: "TaskTimedOut" });
      this.#unanswered.delete(token);
    }
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#dead.map((run) => run.close()));
  }
}

const expected = {
  x: 1,
  items: [1, 2, 3],
  flaky: { answer: "done" },
  both: ["yes", [2, 4, 6]],
  silent: { Error: "States.Timeout", Cause: "" },
  refused: { Error: "Refusal", Cause: '{"errorType":"Refusal","errorMessage":"no","trace":[]}' },
};

describe("an interpreter that dies", () => {
  let folder = "";
  let files = 0;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "farshore-workflows-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function inWorld<T>(work: (world: World) => Promise<T>): Promise<T> {
    const world = new World(join(folder, `${files++}.sqlite`));
    try {
      return await work(world);
    } finally {
      await world.dispose();
    }
  }

  /** Dies after each of these numbers of events, then lives on to the end. */
  const dies = (numbers: readonly number[]) =>
    inWorld(async (world) => {
      const first = await world.live(numbers[0] ?? Number.POSITIVE_INFINITY);
      for (const lives of numbers.slice(1)) await world.live(lives);
      const last = await world.live(Number.POSITIVE_INFINITY);
      expect(last.found).toMatchObject({ status: "SUCCEEDED" });
      expect(JSON.parse(last.found?.output ?? "")).toEqual(expected);
      expect(world.clock.sleeping).toBe(0);
      return { died: first.died, history: await last.run.workflows.history("m", "m") };
    });

  it("after any event is followed by one that comes to the same end", { timeout: 120_000 }, async () => {
    const whole = await dies([]);
    const names = (events: typeof whole.history) => events.map((item) => `${item.type} ${item.state ?? ""}`);
    expect(whole.history.length).toBeGreaterThan(50);
    for (let n = 1; n <= whole.history.length; n++) {
      const { died, history } = await dies([n]);
      expect(died, `after event ${n}`).toBe(true);
      expect(names(history).slice(0, n), `after event ${n}`).toEqual(names(whole.history).slice(0, n));
      expect(history.map((item) => item.id)).toEqual(history.map((_, i) => i + 1));
    }
  });

  it("again and again is followed by one that comes to the same end", { timeout: 120_000 }, async () => {
    const lives = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(lives, async (numbers) => {
        await dies(numbers);
      }),
      { numRuns: 10 },
    );
  });
});
