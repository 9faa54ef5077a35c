import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dyingDocument } from "../../../test/kit/run-workflow-and-die.ts";
import { workflowRun } from "../../../test/kit/workflow-run.ts";

const script = fileURLToPath(new URL("../../../test/kit/run-workflow-and-die.ts", import.meta.url));

describe("a process killed by SIGKILL", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "farshore-workflows-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it.each([
    [1, "ExecutionStarted", [], ["first", "second"]],
    [4, "TaskStarted", [], ["first", "second"]],
    [6, "TaskStateExited", ["first"], ["second"]],
    [14, "ExecutionSucceeded", ["first", "second"], []],
  ])("after event %d (%s) is followed by one that goes on", async (lives, type, before, after) => {
    const file = join(folder, "workflows.sqlite");
    const killed = spawnSync(process.execPath, [script, file, String(lives)], { encoding: "utf8" });
    expect({ signal: killed.signal, stderr: killed.stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
    expect(killed.stdout.split("\n").slice(0, -1)).toEqual(before);

    const run = workflowRun(
      { m: dyingDocument },
      { file, functions: { first: () => "first", second: () => "second" } },
    );
    expect((await run.workflows.history("m", "m"))[lives - 1]).toMatchObject({ id: lives, type });
    expect(await run.workflows.resume()).toBe(after.length === 0 ? 0 : 1);
    const found = await run.ended("m", "m");
    expect(JSON.parse(found.output ?? "")).toEqual({ first: { answer: "first" }, second: { answer: "second" } });
    expect(run.calls.map((call) => call.name)).toEqual(after);
    await run.close();
  });
});
