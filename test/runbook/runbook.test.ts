import { execFile } from "node:child_process";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { errorFromWire, errorNames } from "#core/errors.ts";
import { runbookOf } from "../../cli/exit.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { cleanUpStages, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const root = new URL("../..", import.meta.url).pathname;
const runbook = readFileSync(join(root, "docs/runbook.md"), "utf8");

cleanUpStages();

/** The commands of one chapter: its ```sh blocks, in order. */
function commandsOf(chapter: string): readonly string[] {
  const text = runbook.split(/^## /m).find((part) => part.startsWith(chapter)) ?? "";
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap((block) => (block[1] ?? "").trimEnd().split("\n"));
}

/** A shell in which `farshore` is ours and the variables are those of the stage. Resolves to the exit status and what was printed. */
async function shell(
  stage: WholeStage,
  command: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<{ status: number; text: string }> {
  const shim = join(stage.directory, "farshore");
  writeFileSync(shim, `#!/bin/sh\nexec ${process.execPath} ${join(root, "cli/main.ts")} "$@"\n`);
  chmodSync(shim, 0o755);
  const env = {
    ...process.env,
    ...stage.env,
    PATH: `${stage.directory}:${process.env["PATH"]}`,
    DATA: `${stage.directory}/berlin`,
    ...variables,
  };
  try {
    const { stdout, stderr } = await promisify(execFile)("sh", ["-c", command], { env, cwd: stage.directory });
    return { status: 0, text: stdout + stderr };
  } catch (error) {
    const failed = error instanceof Error ? { ...error } : {};
    return {
      status: "code" in failed && typeof failed.code === "number" ? failed.code : -1,
      text: JSON.stringify(failed),
    };
  }
}

describe("the runbook's commands", () => {
  it("It is 03:00", async () => {
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: 2 ** 22 }], checkpointInterval: "1s" });
    await farshore(["checkpoint", "create", vpg, "--tag", "before-upgrade"], stage.env);
    await stage.processes.stop("gateway-paris", "SIGKILL");
    const commands = commandsOf("It is 03:00");
    expect(commands.length).toBeGreaterThan(8);
    // The chapter's two endings exclude each other: play the bad one first, then commit what it brought up.
    const commit = commands.filter((command) => command.includes("failover commit"));
    const before = commands.slice(
      0,
      commands.findIndex((command) => command.includes("failover commit")),
    );
    const after = commands.slice(before.length + 1);
    const bad = after.filter((command) => /failover (retarget|rollback|live)/.test(command));
    for (const command of [...before, ...bad, ...commit, ...after.filter((line) => !bad.includes(line))]) {
      const { status, text } = await shell(stage, command);
      // `status` answers 1 or 2 here by design: the source is gone.
      expect(command === "farshore status" ? [0, 1, 2] : [0], `${command}\n${text}`).toContain(status);
    }
  });

  it("A source is unreachable, An approval waits", async () => {
    const trigger = 'policy = "approve"\nminimum_duration = "10s"';
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: 2 ** 22 }], checkpointInterval: "1s", trigger });
    const made = await farshore(["token", "create", "--role", "approver", "--name", "ada"], stage.env);
    const approver = z.object({ token: z.string() }).parse(made).token;
    await stage.processes.stop("gateway-paris", "SIGKILL");
    const incidents = z.array(z.object({ incidentId: z.string(), state: z.string() }));
    const waiting = await until("an approval to wait", 180_000, async () =>
      incidents.parse(await farshore(["approval", "list"], stage.env)).at(0),
    );
    const env = { INCIDENT: waiting.incidentId };
    for (const command of commandsOf("A source is unreachable")) {
      const { status, text } = await shell(stage, command, env);
      expect(command === "farshore status" ? [1, 2] : [0], `${command}\n${text}`).toContain(status);
    }
    for (const command of commandsOf("An approval waits")) {
      const { status, text } = await shell(stage, command, { ...env, FARSHORE_TOKEN: approver });
      expect(status, `${command}\n${text}`).toBe(0);
    }
    await until("the failover", 180_000, async () => (await show(stage.env)).operationId ?? undefined);
  });

  it("Moving on purpose", async () => {
    const hooks = `[hooks.${vm}]
boot = ["rm", "-f", "stopped"]
shutdown = ["touch", "stopped"]
status = ["sh", "-c", "test ! -e stopped || exit 3"]`;
    const stage = await wholeStage({
      volumes: [{ name: "data", bytes: 2 ** 22 }],
      checkpointInterval: "1s",
      source: hooks,
    });
    // Its gateway says how it is with each heartbeat: the first told of no session yet.
    await until("replication", 30_000, async () => ((await show(stage.env)).mode === "replicating" ? true : undefined));
    const commands = commandsOf("Moving on purpose");
    expect(commands).toHaveLength(2);
    const moved = commands.at(-1) ?? "";
    for (const command of [...commands, "farshore move rollback shop --yes", moved, "farshore move commit shop"]) {
      const { status, text } = await shell(stage, command);
      expect(status, `${command}\n${text}`).toBe(0);
    }
    expect(await show(stage.env)).toMatchObject({ status: "NotMeetingSLA", substatus: "NeedsConfiguration" });
  });

  it("Everything is gone but the bucket", async () => {
    const stage = await wholeStage({ volumes: [{ name: "data", bytes: 2 ** 22 }], checkpointInterval: "1s" });
    await farshore(["checkpoint", "create", vpg, "--tag", "last"], stage.env);
    const listed = await stage.list();
    await stage.processes.stopAll();
    for (const file of ["table.sqlite", "table.sqlite-wal", "table.sqlite-shm", "workflows.sqlite"]) {
      rmSync(join(stage.directory, "berlin", file), { force: true });
    }
    for (const command of commandsOf("Everything is gone but the bucket")) {
      const { status, text } = await shell(stage, command);
      expect(status, `${command}\n${text}`).toBe(0);
    }
    expect((await stage.list("--offline", join(stage.directory, "berlin"))).map((row) => row.id)).toEqual(
      listed.map((row) => row.id),
    );
  });

  it("has a heading for every error that calls for a person, and none for an unknown one", () => {
    const headings = [...(runbook.split(/^## Errors$/m)[1] ?? "").matchAll(/^### (\w+)$/gm)].map(
      (match) => match[1] ?? "",
    );
    expect(headings).toEqual(headings.toSorted());
    const links = errorNames.flatMap((name) => runbookOf(errorFromWire(name, "x")) ?? []);
    const anchors = headings.map((heading) => `docs/runbook.md#${heading.toLowerCase()}`);
    expect(links.length).toBeGreaterThan(15);
    expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
    for (const heading of headings) expect(errorNames).toContain(heading);
  });
});
