import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { Forbidden, InvalidInput, NotFound, TaskTimedOut } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Workflows } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import type { CommandBody, CommandReport } from "./command.ts";
import { getCommand, issueCommand, pendingCommands, reportCommand, sweepCommands } from "./commands.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";

const id = (last: string): Id => idSchema.parse(`01j0000000000000000000000${last}`);
const gatewayId = id("g");
const gateway: Caller = { name: "recovery", role: "gateway", gatewayId };
const tag = (text: string): CommandBody => ({ kind: "tag-checkpoint", vpgId: id("v"), tag: text });
const done = (result: Record<string, unknown> = {}): CommandReport => ({ state: "done", result });
const running: CommandReport = { state: "running", progress: { done: 1, total: 2, unit: "chunks" } };

function world(spent = false) {
  let now = 1000;
  const woken: string[] = [];
  const answer = async (what: string): Promise<void> => {
    woken.push(what);
    if (spent) throw new TaskTimedOut("spent");
  };
  const workflows: Workflows = {
    start: async () => {},
    describe: async () => undefined,
    stop: async () => {},
    succeed: (token) => answer(`succeed ${token}`),
    fail: (token) => answer(`fail ${token}`),
    heartbeat: (token) => answer(`heartbeat ${token}`),
  };
  const nothing = () => {};
  const site: Site = {
    siteId: id("s"),
    siteName: "west",
    objects: new MemoryObjects(),
    table: new SqliteTable(":memory:"),
    workflows,
    clock: { now: () => now, monotonic: () => now, sleep: async () => {} },
    random: { bytes: (length) => new Uint8Array(length) },
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
    notify: { publish: async () => undefined },
    peers: { ask: () => Promise.reject(new Error("no peers in this test")) },
  };
  const pass = (ms: number) => {
    now += ms;
  };
  return { site, woken, pass };
}

describe("commands", () => {
  it("asking twice is asking once", async () => {
    const { site } = world();
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x") });
    const again = await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x") });
    expect(again.state).toBe("pending");
    expect((await pendingCommands(site, gatewayId)).map(({ commandId }) => commandId)).toEqual(["a.tag"]);
    await expect(issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("y") })).rejects.toThrow(InvalidInput);
  });

  it("gives a command until it has ended; the first end stays", async () => {
    const { site, pass } = world();
    await issueCommand(site, gatewayId, { commandId: "b.tag", body: tag("x") });
    pass(1);
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x") });
    expect((await pendingCommands(site, gatewayId)).map(({ commandId }) => commandId)).toEqual(["b.tag", "a.tag"]);
    await reportCommand(site, gateway, "b.tag", done({ checkpointId: "1-2" }));
    await reportCommand(site, gateway, "b.tag", { state: "failed", error: { name: "Transient", message: "late" } });
    await reportCommand(site, gateway, "b.tag", running);
    expect(await getCommand(site, "b.tag")).toMatchObject({ state: "done", result: { checkpointId: "1-2" } });
    expect((await pendingCommands(site, gatewayId)).map(({ commandId }) => commandId)).toEqual(["a.tag"]);
  });

  it("expires by time, for good; progress renews", async () => {
    const { site, pass } = world();
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x"), expiresInMs: 100 });
    pass(60);
    await reportCommand(site, gateway, "a.tag", running);
    pass(60);
    expect((await getCommand(site, "a.tag")).state).toBe("running");
    pass(40);
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
    expect(await pendingCommands(site, gatewayId)).toEqual([]);
    await reportCommand(site, gateway, "a.tag", done());
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
    expect(await sweepCommands(site, gatewayId)).toBe(1);
    expect(await sweepCommands(site, gatewayId)).toBe(0);
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
  });

  it("is waited for no longer when a clock that was hours ahead is set right", async () => {
    const { site, pass } = world();
    const expiresInMs = 60_000;
    pass(30 * 3_600_000);
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x"), expiresInMs });
    pass(-30 * 3_600_000);
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
    expect(await sweepCommands(site, gatewayId)).toBe(1);
    pass(30 * 3_600_000);
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
    await issueCommand(site, gatewayId, { commandId: "b.tag", body: tag("x"), expiresInMs });
    pass(-200);
    expect((await getCommand(site, "b.tag")).state).toBe("pending");
  });

  it("that expired and left the queue is not waited for again when the clock is set back", async () => {
    const { site, pass } = world();
    pass(50_000);
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x"), expiresInMs: 60_000 });
    pass(70_000);
    expect(await sweepCommands(site, gatewayId)).toBe(1);
    pass(-70_000);
    expect((await getCommand(site, "a.tag")).state).toBe("expired");
  });

  it("is taken out of the queue by two at once, and each goes on", async () => {
    const { site, pass } = world();
    for (const commandId of ["a.tag", "b.tag"]) {
      await issueCommand(site, gatewayId, { commandId, body: tag("x"), expiresInMs: 60_000 });
    }
    pass(60_000);
    await Promise.all([sweepCommands(site, gatewayId), sweepCommands(site, gatewayId)]);
    expect(await sweepCommands(site, gatewayId)).toBe(0);
  });

  it("is reported on by its own gateway only", async () => {
    const { site } = world();
    await issueCommand(site, gatewayId, { commandId: "a.tag", body: tag("x") });
    const other: Caller = { name: "other", role: "gateway", gatewayId: id("h") };
    await expect(reportCommand(site, other, "a.tag", done())).rejects.toThrow(NotFound);
    const person: Caller = { name: "p", role: "operator", gatewayId: null };
    await expect(reportCommand(site, person, "a.tag", done())).rejects.toThrow(Forbidden);
    await expect(getCommand(site, "b.tag")).rejects.toThrow(NotFound);
  });

  it.each([false, true])("wakes the waiting step with every report (token spent: %s)", async (spent) => {
    const { site, woken } = world(spent);
    const waiter = { operationId: id("p"), step: "attach-volumes" };
    await site.table.transact([
      { put: items.operation(waiter.operationId), fields: { tokens: { "attach-volumes": "t1" } } },
    ]);
    await issueCommand(site, gatewayId, { commandId: "a", body: tag("x"), waiter });
    await reportCommand(site, gateway, "a", running);
    await reportCommand(site, gateway, "a", done());
    await reportCommand(site, gateway, "a", done());
    expect(woken).toEqual(["heartbeat t1", "succeed t1", "succeed t1"]);
  });

  it("gives at most a reply's worth", async () => {
    const { site } = world();
    for (let i = 0; i < limits.commandsPerReplyMax + 3; i += 1) {
      await issueCommand(site, gatewayId, { commandId: `a.${i}`, body: tag("x") });
    }
    expect(await pendingCommands(site, gatewayId)).toHaveLength(limits.commandsPerReplyMax);
  });

  it("gives what may take days behind the rest, beside a reply's worth of it, and neither keeps the other out", async () => {
    const { site, pass } = world();
    const volume = { volume: 1, vmName: "db", name: "data", sizeBytes: 512, sectorBytes: 512 as const, path: "a" };
    const body: CommandBody = {
      ...{ kind: "preseed-volumes", vpgId: id("v"), vpgName: "shop", term: 1, volumes: [volume] },
    };
    for (let i = 0; i < limits.preseedsQueuedMax; i += 1) {
      await issueCommand(site, gatewayId, { commandId: `a.${i}`, body });
    }
    pass(1);
    for (let i = 0; i < limits.commandsPerReplyMax; i += 1) {
      await issueCommand(site, gatewayId, { commandId: `z.${i}.tag`, body: tag("x") });
    }
    const kinds = (await pendingCommands(site, gatewayId)).map((command) => command.body.kind);
    const expected = [
      ...Array.from({ length: limits.commandsPerReplyMax }, () => "tag-checkpoint"),
      ...Array.from({ length: limits.preseedsQueuedMax }, () => "preseed-volumes"),
    ];
    expect(kinds).toEqual(expected);
  });
});
