import { afterEach, describe, expect, it } from "vitest";
import { VirtualClock } from "../../../test/kit/virtual-clock.ts";
import {
  machineOf,
  type TestFunctions,
  tokenIn,
  tokenTaskOf,
  type WorkflowRun,
  workflowRun,
} from "../../../test/kit/workflow-run.ts";

const runs: WorkflowRun[] = [];
afterEach(async () => {
  await Promise.all(runs.splice(0).map((run) => run.close()));
});

function make(states: Record<string, unknown>, functions: TestFunctions = {}): WorkflowRun {
  const run = workflowRun({ m: machineOf(states) }, { functions });
  runs.push(run);
  return run;
}

class Refusal extends Error {
  override readonly name = "Refusal";
}

const refuse = (): never => {
  throw new Refusal("not today");
};

const caught = { Type: "Pass", Parameters: { "caught.$": "$" }, End: true };

/** The types of the history's events. */
async function types(run: WorkflowRun): Promise<readonly string[]> {
  return (await run.workflows.history("m", "m")).map((item) => item.type);
}

describe("a task token", () => {
  /** Starts the machine and hands out its token. */
  async function started(
    task: object,
    keep: (payload: unknown) => unknown = () => null,
  ): Promise<WorkflowRun & { token(): string }> {
    const run = make({ A: task, C: caught }, { keep });
    await run.workflows.start("m", "m", "{}");
    await run.clock.settle();
    return { ...run, token: () => tokenIn(run.calls.at(-1)?.payload) };
  }

  it("brings a result through ResultSelector and ResultPath", async () => {
    const run = await started(tokenTaskOf("keep", { ResultSelector: { "x.$": "$.y" }, ResultPath: "$.r" }));
    await run.workflows.succeed(run.token(), '{"y":5}');
    expect(await run.ended("m", "m")).toMatchObject({ output: '{"r":{"x":5}}' });
    expect(await types(run)).toEqual([
      "ExecutionStarted",
      "TaskStateEntered",
      "TaskScheduled",
      "TaskStarted",
      "TaskSubmitted",
      "TaskSucceeded",
      "TaskStateExited",
      "ExecutionSucceeded",
    ]);
  });

  it("is new for every attempt", async () => {
    const run = await started(tokenTaskOf("keep", { Retry: [{ ErrorEquals: ["Declined"] }] }));
    const first = run.token();
    await run.workflows.fail(first, "Declined", "");
    await run.clock.advance(1000);
    expect(run.calls).toHaveLength(2);
    expect(run.token()).not.toBe(first);
    await expect(run.workflows.succeed(first, "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
    await run.workflows.succeed(run.token(), "2");
    expect(await run.ended("m", "m")).toMatchObject({ output: "2" });
  });

  it("fails with the error that was sent, which Catch sees", async () => {
    const run = await started(tokenTaskOf("keep", { Catch: [{ ErrorEquals: ["Declined"], Next: "C" }] }));
    await run.workflows.fail(run.token(), "Declined", "by a person");
    expect(await run.ended("m", "m")).toMatchObject({
      output: '{"caught":{"Error":"Declined","Cause":"by a person"}}',
    });
  });

  it("is spent when its function throws", async () => {
    const run = await started(tokenTaskOf("keep"), refuse);
    expect(await run.ended("m", "m")).toMatchObject({ status: "FAILED", error: "Refusal" });
    await expect(run.workflows.succeed(run.token(), "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
  });

  it("answered while its function runs stands, though the function then throws", async () => {
    let run: WorkflowRun | undefined;
    const keep = async (payload: unknown) => {
      await run?.workflows.succeed(tokenIn(payload), '"first"');
      refuse();
    };
    run = make({ A: tokenTaskOf("keep") }, { keep });
    expect(await run.run()).toMatchObject({ status: "SUCCEEDED", output: '"first"' });
  });

  it("times out by TimeoutSeconds however much it beats", async () => {
    const run = await started(tokenTaskOf("keep", { TimeoutSeconds: 10, HeartbeatSeconds: 4 }));
    for (let i = 0; i < 3; i++) {
      await run.clock.advance(3000);
      await run.workflows.heartbeat(run.token());
    }
    await run.clock.advance(999);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "RUNNING" });
    await run.clock.advance(1);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "FAILED", error: "States.Timeout" });
    await expect(run.workflows.heartbeat(run.token())).rejects.toMatchObject({ name: "TaskTimedOut" });
  });

  it.each<[string, boolean]>([
    ["States.HeartbeatTimeout", true],
    ["States.Timeout", true],
    ["States.ALL", true],
    ["States.TaskFailed", false],
  ])("that stops beating: %s matches is %s", async (name, matched) => {
    const run = await started(
      tokenTaskOf("keep", {
        HeartbeatSecondsPath: "$$.Execution.Input.h",
        Catch: [{ ErrorEquals: [name], Next: "C" }],
      }),
    );
    expect(await run.ended("m", "m")).toMatchObject({ status: "FAILED", error: "States.Runtime" });
    const beating = await started(
      tokenTaskOf("keep", { HeartbeatSeconds: 20, Catch: [{ ErrorEquals: [name], Next: "C" }] }),
    );
    await beating.clock.advance(19_999);
    expect(await beating.workflows.describe("m", "m")).toMatchObject({ status: "RUNNING" });
    await beating.clock.advance(1);
    const expected = matched
      ? { output: '{"caught":{"Error":"States.Timeout","Cause":""}}' }
      : { status: "FAILED", error: "States.Timeout" };
    expect(await beating.ended("m", "m")).toMatchObject(expected);
  });

  it("beats in vain where no heartbeat is wanted", async () => {
    const run = await started(tokenTaskOf("keep", { TimeoutSeconds: 10 }));
    await run.workflows.heartbeat(run.token());
    await run.workflows.succeed(run.token(), "1");
    expect(await run.ended("m", "m")).toMatchObject({ status: "SUCCEEDED" });
  });

  it("answered in any moment around its timeout has one outcome, the one that the sender was told", async () => {
    const seen = new Set<string>();
    for (let delay = 0; delay < 20; delay++) {
      const clock = new VirtualClock();
      const run = workflowRun(
        { m: machineOf({ A: tokenTaskOf("keep", { TimeoutSeconds: 10 }) }) },
        { clock, functions: { keep: () => null } },
      );
      runs.push(run);
      const sleep = clock.sleep.bind(clock);
      const told = Promise.withResolvers<string>();
      // Answers so many microtasks after the timeout's sleep has ended.
      clock.sleep = async (ms, signal) => {
        await sleep(ms, signal);
        let moment = Promise.resolve();
        for (let i = 0; i < delay; i++) moment = moment.then(() => {});
        const answer = moment.then(() => run.workflows.succeed(tokenIn(run.calls[0]?.payload), "1"));
        answer.then(
          () => told.resolve("SUCCEEDED"),
          () => told.resolve("FAILED"),
        );
      };
      await run.workflows.start("m", "m", "{}");
      const found = await run.ended("m", "m");
      expect(found.status, `after ${delay} microtasks`).toBe(await told.promise);
      seen.add(found.status);
    }
    expect([...seen].sort()).toEqual(["FAILED", "SUCCEEDED"]);
  });

  it("answered at the very moment of its timeout has one outcome", async () => {
    for (const early of [true, false]) {
      const run = await started(tokenTaskOf("keep", { TimeoutSeconds: 10 }));
      const token = run.token();
      await run.clock.advance(9_999);
      const waiting = run.clock.sleep(1).then(() => run.workflows.succeed(token, "1"));
      const answered = (early ? run.workflows.succeed(token, "1") : waiting).then(
        () => "SUCCEEDED",
        () => "FAILED",
      );
      waiting.catch(() => {});
      await run.clock.advance(1);
      expect(await run.ended("m", "m")).toMatchObject({ status: await answered });
    }
  });

  it("may not bring more than the payload bound", async () => {
    const run = await started(tokenTaskOf("keep"));
    const large = JSON.stringify("x".repeat(262_143));
    await expect(run.workflows.succeed(run.token(), large)).rejects.toMatchObject({ name: "InvalidInput" });
    await run.workflows.succeed(run.token(), large.slice(0, 100).concat('"'));
    expect(await run.ended("m", "m")).toMatchObject({ status: "SUCCEEDED" });
  });
});
