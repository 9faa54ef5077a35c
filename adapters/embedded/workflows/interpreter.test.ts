import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { VirtualClock } from "../../../test/kit/virtual-clock.ts";
import {
  machineOf,
  silentLog,
  type TestFunctions,
  taskOf,
  tokenIn,
  tokenTaskOf,
  type WorkflowRun,
  type WorkflowRunOptions,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";
import { EmbeddedWorkflows } from "./interpreter.ts";

const runs: WorkflowRun[] = [];
let folder = "";
let file = "";
let clock = new VirtualClock();
let random = new SeededRandom(1);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "farshore-workflows-"));
  file = join(folder, "workflows.sqlite");
  clock = new VirtualClock();
  random = new SeededRandom(1);
});
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
  await rm(folder, { recursive: true });
});

/** An interpreter on the file, the clock and the randomness of this test. */
function open(
  states: Record<string, unknown>,
  functions: TestFunctions = {},
  options: WorkflowRunOptions = {},
): WorkflowRun {
  const run = workflowRun({ m: machineOf(states) }, { file, clock, random, functions, ...options });
  runs.push(run);
  return run;
}

/** One that is left lying after its first `lives` events. */
function openDying(lives: number, states: Record<string, unknown>, functions: TestFunctions = {}): WorkflowRun {
  let seen = 0;
  const onTransition = () => {
    if (++seen === lives) throw new Error("died");
  };
  return open(states, functions, { onTransition });
}

const never = () => new Promise(() => {});

describe("a restart", () => {
  it("calls a task again that was under way, with the same payload and its whole time", async () => {
    const states = {
      A: taskOf("f", { TimeoutSeconds: 60, Parameters: { FunctionName: "f", Payload: { "id.$": "States.UUID()" } } }),
    };
    const first = open(states, { f: never });
    await first.workflows.start("m", "m", "{}");
    await clock.advance(50_000);
    await first.close();
    await clock.advance(3_600_000);
    const second = open(states, { f: () => clock.sleep(59_000).then(() => "late but right") });
    expect(await second.workflows.resume()).toBe(1);
    expect(await second.ended("m", "m")).toMatchObject({ status: "SUCCEEDED", output: '"late but right"' });
    expect(second.calls.map((call) => call.payload)).toEqual(first.calls.map((call) => call.payload));
  });

  it("keeps a token, and does not call its function again once that has returned", async () => {
    const states = { A: tokenTaskOf("keep", { HeartbeatSeconds: 60 }) };
    const first = open(states, { keep: () => null });
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    await first.close();
    await clock.advance(3_600_000);
    const second = open(states, { keep: () => null });
    await second.workflows.resume();
    await clock.advance(59_000);
    await second.workflows.succeed(tokenIn(first.calls[0]?.payload), "1");
    expect(await second.ended("m", "m")).toMatchObject({ status: "SUCCEEDED", output: "1" });
    expect(second.calls).toEqual([]);
  });

  it("calls a token's function again with the same token when it is not known to have returned", async () => {
    const states = { A: tokenTaskOf("keep") };
    const first = open(states, { keep: never });
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    await first.close();
    const second = open(states, { keep: () => null });
    await second.workflows.resume();
    await clock.settle();
    expect(second.calls.map((call) => call.payload)).toEqual(first.calls.map((call) => call.payload));
    await second.workflows.succeed(tokenIn(second.calls[0]?.payload), "1");
    expect(await second.ended("m", "m")).toMatchObject({ status: "SUCCEEDED" });
  });

  it("does not forget an answer that it took just before", async () => {
    const states = { A: tokenTaskOf("keep", { Next: "B" }), B: { Type: "Wait", Seconds: 5, End: true } };
    const first = openDying(6, states, { keep: () => null });
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    const token = tokenIn(first.calls[0]?.payload);
    await first.workflows.succeed(token, '"kept"');
    const second = open(states, { keep: () => null });
    await second.workflows.resume();
    await expect(second.workflows.succeed(token, '"other"')).rejects.toMatchObject({ name: "TaskTimedOut" });
    expect(await second.ended("m", "m")).toMatchObject({ output: '"kept"' });
    expect(second.calls).toEqual([]);
  });

  it("fails with a branch that had failed, and does not call its siblings again", async () => {
    const branch = (name: string) => ({ StartAt: name, States: { [name]: taskOf(name) } });
    const states = { P: { Type: "Parallel", Branches: [branch("hang"), branch("refuse")], End: true } };
    const refuse = () => {
      throw Object.assign(new Error("no"), { name: "Refusal" });
    };
    const whole = open(states, { hang: never, refuse });
    await whole.workflows.start("m", "whole", "{}");
    await whole.ended("m", "whole");
    const failed = (await whole.workflows.history("m", "whole")).findIndex((item) => item.type === "TaskFailed") + 1;
    const first = openDying(failed, states, { hang: never, refuse });
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    const second = open(states);
    await second.workflows.resume();
    expect(await second.ended("m", "m")).toMatchObject({ status: "FAILED", error: "Refusal" });
    expect(second.calls).toEqual([]);
  });

  it("holds a token to the timeout it was given out with", async () => {
    const states = { A: tokenTaskOf("keep", { TimeoutSeconds: 100 }) };
    const first = open(states, { keep: () => null });
    await first.workflows.start("m", "m", "{}");
    await clock.advance(40_000);
    await first.close();
    await clock.advance(40_000);
    const second = open(states, { keep: () => null });
    await second.workflows.resume();
    const found = await second.ended("m", "m");
    expect(found).toMatchObject({ status: "FAILED", error: "States.Timeout" });
    expect((found.stoppedAt ?? 0) - found.startedAt).toBe(100_000);
  });

  it("ends a Wait, a retry's delay and the machine's timeout when they are due", async () => {
    const states = {
      A: { Type: "Wait", Seconds: 100, Next: "B" },
      B: taskOf("f", { Retry: [{ ErrorEquals: ["Error"], IntervalSeconds: 100 }] }),
    };
    let left = 1;
    const f = () => {
      if (left-- > 0) throw new Error("once");
      return 1;
    };
    for (const seconds of [60, 60, 0]) {
      const run = open(states, { f });
      if (seconds === 60 && left === 1 && (await run.workflows.describe("m", "m")) === undefined) {
        await run.workflows.start("m", "m", "{}");
      } else await run.workflows.resume();
      await clock.advance(seconds * 1000);
      if (seconds > 0) await run.close();
      else {
        const found = await run.ended("m", "m");
        expect((found.stoppedAt ?? 0) - found.startedAt).toBe(200_000);
      }
    }
    const bounded = () =>
      workflowRun({ b: machineOf({ A: states.A, B: { Type: "Succeed" } }, { TimeoutSeconds: 50 }) }, { file, clock });
    const one = bounded();
    await one.workflows.start("b", "m", "{}");
    await clock.settle();
    await one.close();
    await clock.advance(70_000);
    const two = bounded();
    runs.push(two);
    await two.workflows.resume();
    expect(await two.ended("b", "m")).toMatchObject({ status: "TIMED_OUT" });
  });

  it("goes on with the document that the execution was started with", async () => {
    const first = open({ A: { Type: "Wait", Seconds: 100, Next: "B" }, B: { Type: "Pass", Result: "old", End: true } });
    await first.workflows.start("m", "old", "{}");
    await clock.settle();
    await first.close();
    const second = open({ A: { Type: "Wait", Seconds: 1, Next: "C" }, C: { Type: "Pass", Result: "new", End: true } });
    await second.workflows.resume();
    await second.workflows.start("m", "new", "{}");
    expect(await second.ended("m", "new")).toMatchObject({ output: '"new"' });
    expect(await second.ended("m", "old")).toMatchObject({ output: '"old"' });
  });

  it("keeps names taken and endings known", async () => {
    const states = { A: { Type: "Succeed" } };
    const first = open(states);
    const found = await first.run({ a: 1 });
    await first.close();
    const second = open(states);
    expect(await second.workflows.resume()).toBe(0);
    expect(await second.workflows.describe("m", "m")).toEqual(found);
    await expect(second.workflows.start("m", "m", '{"a":1}')).rejects.toMatchObject({ name: "ExecutionAlreadyExists" });
  });

  it("takes no answers before resume, and resume can be called again", async () => {
    const states = { A: tokenTaskOf("keep") };
    const first = open(states, { keep: () => null });
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    await first.close();
    const second = open(states);
    const token = tokenIn(first.calls[0]?.payload);
    await expect(second.workflows.succeed(token, "1")).rejects.toMatchObject({ name: "Transient" });
    expect(await second.workflows.resume()).toBe(1);
    expect(await second.workflows.resume()).toBe(0);
    await second.workflows.succeed(token, "1");
    expect(await second.ended("m", "m")).toMatchObject({ status: "SUCCEEDED" });
  });

  it("can stop an execution without going on with it", async () => {
    const states = { A: { Type: "Wait", Seconds: 100, End: true } };
    const first = open(states);
    await first.workflows.start("m", "m", "{}");
    await clock.settle();
    await first.close();
    const second = open(states);
    await second.workflows.stop("m", "m", "E", "c");
    expect(await second.workflows.describe("m", "m")).toMatchObject({ status: "ABORTED", error: "E" });
    expect(await second.workflows.resume()).toBe(0);
  });
});

describe("close", () => {
  it("leaves nothing running, and nothing is written or called from then on", async () => {
    let finish: (value: string) => void = () => {};
    const states = { A: taskOf("f", { Next: "B" }), B: taskOf("g") };
    const run = open(states, { f: () => new Promise((resolve) => (finish = resolve)), g: () => 1 });
    await run.workflows.start("m", "m", "{}");
    await clock.settle();
    const before = await run.workflows.history("m", "m");
    const closed = run.workflows.close();
    finish("done");
    await closed;
    await clock.advance(1_000_000);
    expect(clock.sleeping).toBe(0);
    expect(run.calls.map((call) => call.name)).toEqual(["f"]);
    const after = open(states);
    expect(await after.workflows.history("m", "m")).toEqual(before);
  });

  it("tells functions by their signal, and waits for them only so long", async () => {
    const signals: AbortSignal[] = [];
    const workflows = new EmbeddedWorkflows({
      file,
      clock,
      random,
      log: silentLog,
      machines: { m: { definition: machineOf({ A: taskOf("f") }) } },
      invoke: (_name, _payload, signal) => {
        signals.push(signal);
        return never();
      },
    });
    await workflows.start("m", "m", "{}");
    await clock.settle();
    expect(signals.map((signal) => signal.aborted)).toEqual([false]);
    let done = false;
    const closed = workflows.close().then(() => {
      done = true;
    });
    await clock.advance(9_999);
    expect(signals.map((signal) => signal.aborted)).toEqual([true]);
    expect(done).toBe(false);
    await clock.advance(1);
    await closed;
    await workflows.close();
  });

  it("refuses everything afterwards", async () => {
    const run = open({ A: { Type: "Succeed" } });
    const { workflows } = run;
    await run.close();
    const calls = [
      workflows.start("m", "m", "{}"),
      workflows.describe("m", "m"),
      workflows.stop("m", "m", "E", "c"),
      workflows.succeed("t", "1"),
      workflows.heartbeat("t"),
      workflows.resume(),
      workflows.history("m", "m"),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject({ name: "Transient" });
  });
});

describe("trouble that is not the workflow's", () => {
  const states = { A: tokenTaskOf("keep", { Next: "B" }), B: taskOf("f") };

  /** An interpreter whose randomness fails once, when the token is made. */
  async function interrupted(): Promise<WorkflowRun> {
    let left = 1;
    const failing = {
      bytes(length: number) {
        if (left-- > 0) throw new Error("no randomness");
        return random.bytes(length);
      },
    };
    const functions = { keep: () => null, f: () => clock.sleep(100_000).then(() => "late") };
    const document = machineOf(states, { TimeoutSeconds: 1000 });
    const run = workflowRun({ m: document }, { file, clock, random: failing, functions });
    runs.push(run);
    await run.workflows.start("m", "m", "{}");
    await clock.settle();
    expect(run.calls).toEqual([]);
    // Only the pause itself.
    expect(clock.sleeping).toBe(1);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "RUNNING" });
    return run;
  }

  it("only pauses the execution", async () => {
    const run = await interrupted();
    await clock.advance(29_999);
    expect(run.calls).toEqual([]);
    await clock.advance(1);
    await run.workflows.succeed(tokenIn(run.calls[0]?.payload), "1");
    expect(await run.ended("m", "m")).toMatchObject({ status: "SUCCEEDED", output: '"late"' });
  });

  it("lets it be resumed before, and then only once", async () => {
    const run = await interrupted();
    expect(await run.workflows.resume()).toBe(1);
    await clock.settle();
    await run.workflows.succeed(tokenIn(run.calls[0]?.payload), "1");
    await clock.advance(60_000);
    expect(run.calls.map((call) => call.name)).toEqual(["keep", "f"]);
  });

  it("lets it be stopped meanwhile", async () => {
    const run = await interrupted();
    await run.workflows.stop("m", "m", "E", "c");
    await clock.advance(60_000);
    expect(run.calls).toEqual([]);
    expect(clock.sleeping).toBe(0);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "ABORTED" });
  });
});

describe("what is written", () => {
  it("is durable before a function is called", async () => {
    const seen: unknown[] = [];
    const look = () => {
      const database = new DatabaseSync(file, { readOnly: true });
      seen.push(database.prepare("SELECT type FROM events ORDER BY id DESC LIMIT 1").get()?.["type"]);
      seen.push(JSON.parse(String(database.prepare("SELECT body FROM frames").get()?.["body"])).phase.functionName);
      database.close();
    };
    await open({ A: taskOf("look") }, { look }).run();
    expect(seen).toEqual(["TaskStarted", "look"]);
  });

  it("leaves no frames of what has ended", async () => {
    const branches = [{ StartAt: "B", States: { B: { Type: "Pass", End: true } } }];
    await open({ A: { Type: "Parallel", Branches: branches, End: true } }).run();
    const database = new DatabaseSync(file, { readOnly: true });
    expect(database.prepare("SELECT count(*) AS n FROM frames").get()).toEqual({ n: 0 });
    database.close();
  });

  it("can be listed by machine and status", async () => {
    const machines = {
      w: machineOf({ A: { Type: "Wait", Seconds: 5, End: true } }),
      s: machineOf({ A: { Type: "Succeed" } }),
    };
    const run = workflowRun(machines, { file, clock });
    runs.push(run);
    await run.workflows.start("w", "one", "{}");
    await run.ended("w", "one");
    await run.workflows.start("w", "two", "{}");
    await run.workflows.start("s", "three", "{}");
    const names = async (...about: Parameters<EmbeddedWorkflows["list"]>) =>
      (await run.workflows.list(...about)).map((item) => item.name);
    expect(await names("w")).toEqual(["one", "two"]);
    expect(await names("w", { status: "RUNNING" })).toEqual(["two"]);
    expect(await names("w", { status: "FAILED" })).toEqual([]);
    expect(await run.workflows.history("w", "none")).toEqual([]);
  });

  it("is refused in another format", () => {
    const database = new DatabaseSync(file);
    database.exec("PRAGMA user_version = 99");
    database.close();
    expect(() => open({ A: { Type: "Succeed" } })).toThrow(expect.objectContaining({ name: "UnsupportedFormat" }));
  });
});

describe("the hook", () => {
  it("is told of every event once it is durable", async () => {
    const seen: string[] = [];
    const onTransition: WorkflowRunOptions["onTransition"] = ({ machine, name }, item) => {
      const database = new DatabaseSync(file, { readOnly: true });
      const stored = database.prepare("SELECT type FROM events WHERE id = ?").get(item.id);
      database.close();
      expect(stored).toEqual({ type: item.type });
      seen.push(`${machine} ${name} ${item.id} ${item.type}`);
    };
    const run = open({ A: { Type: "Pass", End: true } }, {}, { onTransition });
    await run.run();
    expect(seen).toEqual([
      "m m 1 ExecutionStarted",
      "m m 2 PassStateEntered",
      "m m 3 PassStateExited",
      "m m 4 ExecutionSucceeded",
    ]);
  });
});
