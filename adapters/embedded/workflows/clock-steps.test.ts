import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { VirtualClock } from "../../../test/kit/virtual-clock.ts";
import { machineOf, taskOf, tokenIn, tokenTaskOf, workflowRun } from "../../../test/kit/workflow-run.ts";

/** One whose hands can be set; time passes all the same. */
class SetClock extends VirtualClock {
  aheadMs = 0;

  override now(): number {
    return super.now() + this.aheadMs;
  }
}

const hourMs = 3_600_000;
const refuse = (): never => {
  throw Object.assign(new Error("busy"), { name: "Busy" });
};

/** What waits for a minute: the document, and its functions. */
const waits = [
  ["a token's timeout", { A: tokenTaskOf("keep", { TimeoutSeconds: 60 }) }, "FAILED"],
  ["a token's heartbeat", { A: tokenTaskOf("keep", { HeartbeatSeconds: 60 }) }, "FAILED"],
  ["a function's timeout", { A: taskOf("hang", { TimeoutSeconds: 60 }) }, "FAILED"],
  ["a Wait", { A: { Type: "Wait", Seconds: 60, End: true } }, "SUCCEEDED"],
  [
    "the time before a retry",
    { A: taskOf("refuse", { Retry: [{ ErrorEquals: ["Busy"], IntervalSeconds: 60, MaxAttempts: 1 }] }) },
    "FAILED",
  ],
] as const;
const functions = { keep: () => null, refuse, hang: () => new Promise(() => undefined) };

describe("a clock that was hours ahead and is set right", () => {
  it.each(waits)("makes %s no longer", async (_, states, status) => {
    const clock = new SetClock();
    const run = workflowRun({ m: machineOf(states) }, { clock, functions });
    clock.aheadMs = 3 * hourMs;
    await run.workflows.start("m", "m", "{}");
    await clock.advance(20_000);
    clock.aheadMs = 0;
    await clock.advance(39_999);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status: "RUNNING" });
    await clock.advance(1);
    expect(await run.workflows.describe("m", "m")).toMatchObject({ status });
    await run.close();
  });

  it.each(waits.filter(([, states]) => !("HeartbeatSeconds" in states.A)))(
    "while its site was down makes %s no longer either",
    async (_, states, status) => {
      const folder = await mkdtemp(join(tmpdir(), "farshore-workflows-"));
      const file = join(folder, "m.sqlite");
      const clock = new SetClock();
      clock.aheadMs = 3 * hourMs;
      const before = workflowRun({ m: machineOf(states) }, { clock, functions, file });
      await before.workflows.start("m", "m", "{}");
      await clock.advance(20_000);
      await before.close();
      clock.aheadMs = 0;
      const after = workflowRun({ m: machineOf(states) }, { clock, functions, file });
      await after.workflows.resume();
      await clock.advance(60_000);
      expect(await after.workflows.describe("m", "m")).toMatchObject({ status });
      await after.close();
      await rm(folder, { recursive: true });
    },
  );
});

describe("a clock that is set hours ahead", () => {
  it("lets no heartbeat be missed that came in time", async () => {
    const clock = new SetClock();
    const run = workflowRun(
      { m: machineOf({ A: tokenTaskOf("keep", { HeartbeatSeconds: 60 }) }) },
      { clock, functions },
    );
    await run.workflows.start("m", "m", "{}");
    await clock.advance(30_000);
    const token = tokenIn(run.calls[0]?.payload);
    await run.workflows.heartbeat(token);
    clock.aheadMs = 3 * hourMs;
    await clock.advance(40_000);
    await run.workflows.succeed(token, "1");
    expect(await run.ended("m", "m")).toMatchObject({ status: "SUCCEEDED" });
    await run.close();
  });
});
