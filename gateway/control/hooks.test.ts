import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { CommandFailed } from "#core/errors.ts";
import { hookEnvironment, hookOutcome, runHook, vmState } from "./hooks.ts";

const run = { workingDirectory: tmpdir(), environment: {}, timeoutMs: 20_000 };
const node = (code: string): readonly string[] => [process.execPath, "-e", code];

describe("hooks", () => {
  it("gives exit status and output, and only the named environment", async () => {
    process.env["FARSHORE_TEST_SECRET"] = "hidden";
    const environment = hookEnvironment({
      vpgName: "shop",
      vmName: "db",
      operationId: "01",
      action: "boot",
      mode: "test",
      disks: new Map([["data-1", "nbd://127.0.0.1:1/shop/db/data-1"]]),
    });
    const result = await runHook(
      node(
        "console.log(process.env.FARSHORE_VM, process.env.FARSHORE_MODE, process.env.FARSHORE_TEST_SECRET, process.env.FARSHORE_DISK_DATA_1); process.exit(3)",
      ),
      { ...run, environment },
    );
    delete process.env["FARSHORE_TEST_SECRET"];
    expect(result).toEqual({
      exitStatus: 3,
      timedOut: false,
      output: "db test undefined nbd://127.0.0.1:1/shop/db/data-1\n",
    });
    expect(hookOutcome(result)).toBe("ended with status 3: db test undefined nbd://127.0.0.1:1/shop/db/data-1");
  });

  it("passes arguments as they are: no shell", async () => {
    const result = await runHook([...node("console.log(process.argv[1])"), "$(touch /nowhere); `id`"], run);
    expect(result.output).toBe("$(touch /nowhere); `id`\n");
  });

  it("ends a hook that takes too long, with its children", async () => {
    const result = await runHook(["sh", "-c", "sleep 60 & sleep 60"], { ...run, timeoutMs: 100 });
    expect(result.timedOut).toBe(true);
    expect(hookOutcome(result)).toContain("took too long");
  });

  it("ends a hook when its command is aborted", async () => {
    const result = await runHook(["sleep", "60"], { ...run, signal: AbortSignal.timeout(50) });
    expect(result.exitStatus).toBeNull();
  });

  it("does not wait for what the hook leaves running", async () => {
    const result = await runHook(["sh", "-c", "sleep 5 & echo started"], run);
    expect(result).toEqual({ exitStatus: 0, timedOut: false, output: "started\n" });
  });

  it("keeps the end of a long output", async () => {
    const result = await runHook(node("process.stdout.write('a'.repeat(300000) + 'end')"), run);
    expect(result.output.length).toBe(16 * 1024);
    expect(result.output.endsWith("end")).toBe(true);
  });

  it("names a program that can't be started", async () => {
    await expect(runHook(["/no/such/program"], run)).rejects.toThrow(CommandFailed);
  });

  it.each([
    { exitStatus: 0, timedOut: false, state: "running" },
    { exitStatus: 1, timedOut: false, state: "stopped" },
    { exitStatus: 3, timedOut: false, state: "stopped" },
    { exitStatus: 4, timedOut: false, state: "unknown" },
    { exitStatus: 0, timedOut: true, state: "unknown" },
    { exitStatus: null, timedOut: false, state: "unknown" },
  ])("reads status $exitStatus (timed out: $timedOut) as $state", ({ exitStatus, timedOut, state }) => {
    expect(vmState({ exitStatus, timedOut, output: "" })).toBe(state);
  });
});
