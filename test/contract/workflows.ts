import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ExecutionDescription, Workflows } from "#core/ports.ts";

export interface WorkflowsUnderTest {
  readonly workflows: Workflows;
  /** What starting a machine that isn't there is: a wrong name where the machines are the program's own, otherwise a site not deployed whole. */
  readonly unknownMachine: "NotFound" | "Transient";
  /** Lets this much time pass (virtual where there is such a thing). */
  passTime(ms: number): Promise<void>;
  /** Waits for the execution's end. */
  ended(machine: string, name: string): Promise<ExecutionDescription>;
  dispose(): Promise<void>;
}

export interface WorkflowsContractInput {
  /** ASL documents by machine name. */
  readonly machines: Readonly<Record<string, unknown>>;
  /** What the machines' functions do. */
  readonly functions: Readonly<Record<string, (payload: unknown) => Promise<unknown>>>;
}

const INVOKE = "arn:aws:states:::lambda:invoke";

function task(name: string, more: object = {}): object {
  return {
    Type: "Task",
    Resource: INVOKE,
    Parameters: { FunctionName: name, "Payload.$": "$" },
    OutputPath: "$.Payload",
    End: true,
    ...more,
  };
}

function tokenTask(more: object = {}): object {
  return {
    Type: "Task",
    Resource: `${INVOKE}.waitForTaskToken`,
    Parameters: { FunctionName: "keep", Payload: { "token.$": "$$.Task.Token" } },
    End: true,
    ...more,
  };
}

const machines = {
  double: { StartAt: "Double", States: { Double: task("double") } },
  broken: { StartAt: "Break", States: { Break: task("break") } },
  token: { StartAt: "Wait", States: { Wait: tokenTask() } },
  beating: { StartAt: "Wait", States: { Wait: tokenTask({ HeartbeatSeconds: 4, TimeoutSeconds: 60 }) } },
  long: { StartAt: "Wait", States: { Wait: { Type: "Wait", Seconds: 600, End: true } } },
  bounded: { TimeoutSeconds: 3, StartAt: "Wait", States: { Wait: { Type: "Wait", Seconds: 600, End: true } } },
  spread: {
    StartAt: "Each",
    States: {
      Each: {
        Type: "Map",
        ItemsPath: "$.items",
        MaxConcurrencyPath: "$.atOnce",
        ItemProcessor: {
          ProcessorConfig: { Mode: "DISTRIBUTED", ExecutionType: "EXPRESS" },
          StartAt: "Double",
          States: { Double: task("double") },
        },
        End: true,
      },
    },
  },
  early: {
    StartAt: "Wait",
    States: {
      Wait: {
        Type: "Task",
        Resource: `${INVOKE}.waitForTaskToken`,
        Parameters: { FunctionName: "answer", Payload: { "token.$": "$$.Task.Token" } },
        End: true,
      },
    },
  },
};

class Refusal extends Error {
  override readonly name = "Refusal";
}

/**
 * What every adapter of the `Workflows` port must do; `make` deploys the machines and functions afresh. `lacks` says by a
 * test's name what a stand-in for the real service doesn't do.
 */
export function workflowsContract(
  name: string,
  make: (input: WorkflowsContractInput) => Promise<WorkflowsUnderTest>,
  lacks: Readonly<Record<string, string>> = {},
): void {
  describe(`${name} keeps the contract of Workflows`, () => {
    beforeEach((context) => {
      const lack = lacks[context.task.name];
      if (lack !== undefined) context.skip(lack);
    });
    let tested: WorkflowsUnderTest | undefined;
    let tokens: string[] = [];
    let doubled = 0;
    const deploy = async (): Promise<WorkflowsUnderTest> => {
      tokens = [];
      doubled = 0;
      const token = (payload: unknown): string =>
        typeof payload === "object" && payload !== null && "token" in payload ? String(payload.token) : "";
      tested = await make({
        machines,
        functions: {
          double: async (payload) => {
            doubled++;
            return { doubled: Number(payload) * 2 };
          },
          break: async () => {
            throw new Refusal("not today");
          },
          keep: async (payload) => {
            tokens.push(token(payload));
            return null;
          },
          answer: async (payload) => {
            await tested?.workflows.succeed(token(payload), '"early"');
            return null;
          },
        },
      });
      return tested;
    };
    /** Starts the machine and waits until its token is handed out. */
    const withToken = async (machine: string) => {
      const made = await deploy();
      await made.workflows.start(machine, "one", "{}");
      for (let i = 0; i < 100 && tokens.length === 0; i++) await made.passTime(10);
      return { ...made, token: tokens[0] ?? "" };
    };
    afterEach(async () => {
      await tested?.dispose();
      tested = undefined;
    });

    it("runs to the end and describes what came out", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("double", "one", "21");
      const found = await ended("double", "one");
      expect(found).toMatchObject({ name: "one", status: "SUCCEEDED" });
      expect(JSON.parse(found.output ?? "")).toEqual({ doubled: 42 });
      expect(found.stoppedAt).toBeGreaterThanOrEqual(found.startedAt);
      expect(found).not.toHaveProperty("error");
    });

    it("describes a running execution, and nothing for an unknown one", async () => {
      const { workflows } = await deploy();
      await workflows.start("long", "one", "{}");
      const found = await workflows.describe("long", "one");
      expect(found).toMatchObject({ name: "one", status: "RUNNING" });
      expect(found).not.toHaveProperty("stoppedAt");
      expect(await workflows.describe("long", "two")).toBeUndefined();
    });

    it("refuses an unknown machine, a bad name and an input that is not JSON", async () => {
      const { workflows, unknownMachine } = await deploy();
      await expect(workflows.start("none", "one", "{}")).rejects.toMatchObject({ name: unknownMachine });
      await expect(workflows.start("long", "a b", "{}")).rejects.toMatchObject({ name: "InvalidInput" });
      await expect(workflows.start("long", "one", "{")).rejects.toMatchObject({ name: "InvalidInput" });
      await expect(workflows.start("long", "x".repeat(81), "{}")).rejects.toMatchObject({ name: "InvalidInput" });
    });

    it("starts the same name and input once while it runs", async () => {
      const { workflows } = await deploy();
      await workflows.start("long", "one", '{"a":1}');
      await workflows.start("long", "one", '{"a":1}');
      const other = workflows.start("long", "one", '{"a":2}');
      await expect(other).rejects.toMatchObject({ name: "ExecutionAlreadyExists" });
    });

    it("never uses a name twice, but does in another machine", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("double", "one", "1");
      await ended("double", "one");
      await expect(workflows.start("double", "one", "1")).rejects.toMatchObject({ name: "ExecutionAlreadyExists" });
      expect(doubled).toBe(1);
      await workflows.start("long", "one", "1");
      expect(await workflows.describe("long", "one")).toMatchObject({ status: "RUNNING" });
    });

    it("fails with the name of what the function threw", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("broken", "one", "{}");
      const found = await ended("broken", "one");
      expect(found).toMatchObject({ status: "FAILED", error: "Refusal" });
      expect(JSON.parse(found.cause ?? "")).toMatchObject({ errorType: "Refusal", errorMessage: "not today" });
      expect(found).not.toHaveProperty("output");
    });

    it("runs each item of a distributed Map, and answers in their order", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("spread", "one", '{"items":[3,1,2],"atOnce":2}');
      const found = await ended("spread", "one");
      expect(found).toMatchObject({ status: "SUCCEEDED" });
      expect(JSON.parse(found.output ?? "")).toEqual([{ doubled: 6 }, { doubled: 2 }, { doubled: 4 }]);
    });

    it("ends by the machine's own timeout", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("bounded", "one", "{}");
      expect(await ended("bounded", "one")).toMatchObject({ status: "TIMED_OUT" });
    });

    it("stops a running execution, and leaves a closed or unknown one alone", async () => {
      const { workflows, ended } = await deploy();
      await workflows.start("long", "one", "{}");
      await workflows.stop("long", "one", "Because", "of that");
      const found = await ended("long", "one");
      expect(found).toMatchObject({ status: "ABORTED", error: "Because", cause: "of that" });
      await workflows.stop("long", "one", "Again", "and again");
      await workflows.stop("long", "none", "Because", "of that");
      expect(await workflows.describe("long", "one")).toEqual(found);
      expect(await workflows.describe("long", "none")).toBeUndefined();
    });

    describe("a task token", () => {
      it("brings the state's result, once", async () => {
        const { workflows, ended, token } = await withToken("token");
        await workflows.succeed(token, '{"a":[1]}');
        await expect(workflows.succeed(token, '{"a":[2]}')).rejects.toMatchObject({ name: "TaskTimedOut" });
        await expect(workflows.fail(token, "E", "c")).rejects.toMatchObject({ name: "TaskTimedOut" });
        await expect(workflows.heartbeat(token)).rejects.toMatchObject({ name: "TaskTimedOut" });
        const found = await ended("token", "one");
        expect(found).toMatchObject({ status: "SUCCEEDED" });
        expect(JSON.parse(found.output ?? "")).toEqual({ a: [1] });
      });

      it("brings the state's failure, once", async () => {
        const { workflows, ended, token } = await withToken("token");
        await workflows.fail(token, "Declined", "by a person");
        await expect(workflows.succeed(token, "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
        expect(await ended("token", "one")).toMatchObject({
          status: "FAILED",
          error: "Declined",
          cause: "by a person",
        });
      });

      it("may be answered while its function still runs", async () => {
        const { workflows, ended } = await deploy();
        await workflows.start("early", "one", "{}");
        expect(await ended("early", "one")).toMatchObject({ status: "SUCCEEDED", output: '"early"' });
      });

      it("lives as long as it beats", async () => {
        const { workflows, passTime, ended, token } = await withToken("beating");
        for (let i = 0; i < 3; i++) {
          await passTime(3000);
          await workflows.heartbeat(token);
        }
        expect(await workflows.describe("beating", "one")).toMatchObject({ status: "RUNNING" });
        expect(await ended("beating", "one")).toMatchObject({ status: "FAILED", error: "States.Timeout" });
        await expect(workflows.succeed(token, "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
      });

      it("is spent when its execution is stopped", async () => {
        const { workflows, token } = await withToken("token");
        await workflows.stop("token", "one", "Because", "of that");
        await expect(workflows.succeed(token, "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
      });

      it("is refused when unknown, and its output when it is not JSON", async () => {
        const { workflows, ended, token } = await withToken("token");
        await expect(workflows.succeed("nobody-gave-this-out", "1")).rejects.toMatchObject({ name: "TaskTimedOut" });
        await expect(workflows.fail("nobody-gave-this-out", "E", "c")).rejects.toMatchObject({ name: "TaskTimedOut" });
        await expect(workflows.succeed(token, "{")).rejects.toMatchObject({ name: "InvalidInput" });
        await workflows.succeed(token, "1");
        expect(await ended("token", "one")).toMatchObject({ status: "SUCCEEDED", output: "1" });
      });
    });
  });
}
