import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CommandExpired, CommandFailed, Transient } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Command, CommandBody, CommandReport } from "#core/protection/command.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { commandsAtOnceMax } from "../limits.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { CommandRunner } from "./command-runner.ts";
import type { CommandContext } from "./handlers.ts";

const vpgId = newId(new VirtualClock(), new SeededRandom(1));
const operationId = newId(new VirtualClock(), new SeededRandom(2));

const detach: CommandBody = { kind: "detach-volumes", operationId, vpgId, vpgName: "shop", keepScratchMs: 0 };
const tag: CommandBody = { kind: "tag-checkpoint", vpgId, tag: "payday" };
const preseed: CommandBody = {
  ...{ kind: "preseed-volumes", vpgId, vpgName: "shop", term: 1 },
  volumes: [{ volume: 1, vmName: "db", name: "data", sizeBytes: 512, sectorBytes: 512, path: "data.img" }],
};
const commandOf = (body: CommandBody): Command => ({ commandId: "op.1.step", createdAt: 0, expiresAt: 9, body });

let folder: string;
let state: StateDirectory;
let runner: CommandRunner;
let clock: VirtualClock;
/** Each run of a handler: how to end it. */
let runs: { readonly context: CommandContext; done(): void; fail(error: Error): void }[];
let reports: CommandReport[];
/** What the site says to the next reports; by default it takes them. */
let refusals: Error[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "farshore-commands-"));
  state = await StateDirectory.open(folder);
  clock = new VirtualClock();
  [runs, reports, refusals] = [[], [], []];
  runner = await load();
});

afterEach(async () => {
  await runner.close();
  await state.close();
  await rm(folder, { recursive: true });
});

function load(): Promise<CommandRunner> {
  const handler = (_: CommandBody, context: CommandContext) =>
    new Promise<Record<string, unknown>>((resolve, reject) => {
      runs.push({ context, done: () => resolve({ run: runs.length }), fail: reject });
      context.signal.addEventListener("abort", () => reject(context.signal.reason), { once: true });
    });
  return CommandRunner.load({
    handlers: { "detach-volumes": handler, "tag-checkpoint": handler, "preseed-volumes": handler },
    state,
    prefix: "command-",
    site: {
      reportCommand: async (_, report) => {
        const refusal = report.state === "running" ? undefined : refusals.shift();
        if (refusal !== undefined) throw refusal;
        reports.push(report);
      },
    },
    clock,
    log: new QuietLog(),
  });
}

/** A new life of the process, whose last one ended wherever it was. */
async function restart(): Promise<void> {
  await runner.close();
  runner = await load();
}

/** Files take real time. */
async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 2));
}

const kept = (): Promise<readonly string[]> => state.list("command-");

describe("CommandRunner", () => {
  it("runs a command once, however often it comes, and forgets it when the site asks no more", async () => {
    for (const heartbeat of [1, 2]) runner.received([commandOf(detach)], heartbeat);
    await until(() => runs.length > 0);
    expect([runs.length, runner.busy, await kept()]).toEqual([1, true, ["command-op.1.step"]]);
    runs[0]?.done();
    await until(() => reports.length > 0);
    expect(reports).toEqual([{ state: "done", result: { run: 1 } }]);
    // The answer to a heartbeat that was under way when the report was taken still asks.
    runner.received([commandOf(detach)], 3);
    await until(() => reports.length > 1);
    runner.received([], 4);
    await until(async () => (await kept()).length === 0);
    expect([runs.length, runner.busy]).toEqual([1, false]);
  });

  it("tells the same result in its next life, without another run", async () => {
    refusals.push(new Transient("no route"));
    runner.received([commandOf(detach)], 1);
    await until(() => runs.length > 0);
    runs[0]?.fail(new CommandFailed("the disk is full"));
    await until(() => refusals.length === 0);
    expect(runner.busy).toBe(true);
    await restart();
    runner.received([commandOf(detach)], 1);
    await until(() => reports.length > 0);
    expect(reports).toEqual([{ state: "failed", error: { name: "CommandFailed", message: "the disk is full" } }]);
    expect(runs.length).toBe(1);
  });

  it("begins again what a stop cut off, but for what may not be done twice", async () => {
    runner.received([commandOf(detach)], 1);
    await until(() => runs.length === 1);
    await restart();
    runner.received([commandOf(detach)], 1);
    await until(() => runs.length === 2);
    runs[1]?.done();
    await until(() => reports.length === 1);
    const second = { ...commandOf(tag), commandId: "op.tag" };
    runner.received([second], 2);
    await until(() => runs.length === 3);
    await restart();
    runner.received([second], 1);
    await until(() => reports.length === 2);
    expect(reports[1]).toMatchObject({ state: "failed", error: { message: expect.stringContaining("ask again") } });
    expect(runs.length).toBe(3);
  });

  it("refuses a command of a newer site by name, and skips what isn't one", async () => {
    runner.received([{ ...commandOf(detach), body: { kind: "teleport" } }, "nonsense"], 1);
    await until(() => reports.length > 0);
    expect(reports).toMatchObject([{ state: "failed", error: { name: "InvalidInput" } }]);
  });

  it("keeps no answer that the site will never take", async () => {
    refusals.push(new CommandExpired("too late"));
    runner.received([commandOf(detach)], 1);
    await until(() => runs.length > 0);
    runs[0]?.done();
    await until(() => refusals.length === 0 && !runner.busy);
    runner.received([], 2);
    await until(async () => (await kept()).length === 0);
    expect(reports).toEqual([]);
  });

  it("begins what somebody waits for, however many preseeds there are, and no more of it at once than its bound", async () => {
    const many = (body: CommandBody, count: number) =>
      Array.from({ length: count }, (_, index) => ({ ...commandOf(body), commandId: `op.${index}.${body.kind}` }));
    const preseeds = many(preseed, commandsAtOnceMax + 1);
    runner.received(preseeds, 1);
    await until(() => runs.length === commandsAtOnceMax + 1);
    for (const heartbeat of [2, 3]) {
      runner.received([...many(detach, commandsAtOnceMax + 1), ...preseeds], heartbeat);
      await until(() => runs.length === 2 * commandsAtOnceMax + 1);
    }
    await clock.settle();
    expect(runs).toHaveLength(2 * commandsAtOnceMax + 1);
    expect(runs.some(({ context }) => context.signal.aborted)).toBe(false);
  });

  it("leaves a preseed that its site asks for no more, and begins it again when it does; others it ends", async () => {
    const [first, second] = [commandOf(preseed), { ...commandOf(detach), commandId: "op.detach" }];
    runner.received([first, second], 1);
    await until(() => runs.length === 2);
    runner.received([], 2);
    await until(async () => (await kept()).join() === "command-op.detach");
    expect(runs.map(({ context }) => context.signal.aborted).sort()).toEqual([false, true]);
    expect(reports).toEqual([]);
    runner.received([first], 3);
    await until(() => runs.length === 3);
    runs[2]?.done();
    await until(() => reports.length === 1);
    expect(reports).toEqual([{ state: "done", result: { run: 3 } }]);
  });

  it("says every second that it is at work", async () => {
    runner.received([commandOf(detach)], 1);
    await until(() => runs.length > 0 && clock.sleeping > 0);
    runs[0]?.context.progress(3, 7, "bytes");
    await clock.advance(1000);
    expect(reports).toEqual([{ state: "running", progress: { done: 3, total: 7, unit: "bytes" } }]);
  });

  it("begins nothing that a late heartbeat answer brings after the stop", async () => {
    await runner.close();
    runner.received([commandOf(detach)], 1);
    await clock.settle();
    expect([runs.length, await kept()]).toEqual([0, []]);
  });
});
