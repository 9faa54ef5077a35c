import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type WorkflowsContractInput, workflowsContract } from "../../../test/contract/workflows.ts";
import { workflowRun } from "../../../test/kit/workflow-run.ts";

const make = (file: string) => async (input: WorkflowsContractInput) => {
  const { workflows, clock, ended, close } = workflowRun(input.machines, { functions: input.functions, file });
  await workflows.resume();
  return {
    workflows,
    unknownMachine: "NotFound" as const,
    ended,
    passTime: (ms: number) => clock.advance(ms),
    dispose: close,
  };
};

workflowsContract("EmbeddedWorkflows in memory", make(":memory:"));

workflowsContract("EmbeddedWorkflows in a file", async (input) => {
  const folder = await mkdtemp(join(tmpdir(), "farshore-workflows-"));
  const tested = await make(join(folder, "workflows.sqlite"))(input);
  return {
    ...tested,
    async dispose() {
      await tested.dispose();
      await rm(folder, { recursive: true });
    },
  };
});
