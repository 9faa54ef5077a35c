import { beforeEach, describe, expect, it } from "vitest";
import { heartbeatSchema, type StreamState } from "#core/api/gateway-api.ts";
import { type Id, newId } from "#core/ids.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import type { CommandReport } from "#core/protection/command.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { failoverCheck } from "#core/protection/failover-check.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import type { Caller } from "#core/site.ts";
import { gatewayCallers, offered, severalGateways } from "../../test/kit/several-gateways.ts";
import { makeSite, noWorkflows, openAsk, operator, type TestSite } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { settleCheckpoint } from "./begin-operation.ts";
import { checkStep, issueStep } from "./command-step.ts";
import { sealOldTerm, takeOver } from "./commit.ts";
import { decide } from "./decide.ts";
import { changeOperation, getOperation } from "./operation-store.ts";
import { startOperation } from "./start-operation.ts";
import { stepNames } from "./steps.ts";

const names = ["gw-a", "gw-b"] as const;

/** A site and the two source gateways of a VPG, one disk each, whose parts the test plays. */
class Group {
  readonly site: TestSite = { ...makeSite(), workflows: { ...noWorkflows, start: async () => undefined } };
  readonly callers: Caller[] = [];
  readonly streams: Stream[] = [];
  vpg: VpgRecord | undefined;

  async begin(): Promise<void> {
    this.callers.push(...(await gatewayCallers(this.site, names)));
    const vpg = await createVpg(this.site, severalGateways(names), operator);
    for (const [index, caller] of this.callers.slice(0, names.length).entries()) {
      const ask = openAsk(this.site, vpg.vpgId, { volumes: offered(index) });
      this.streams.push(new Stream(vpg.vpgId, await openSession(this.site, caller, ask)));
      await this.send(index, (stream) => stream.synced());
    }
    this.vpg = await getVpg(this.site, "shop");
  }

  stream(index: number): Stream {
    const stream = this.streams[index];
    if (stream === undefined) throw new Error(`no gateway ${index}`);
    return stream;
  }

  caller(index: number): Caller & { readonly gatewayId: Id } {
    const caller = this.callers[index];
    if (caller === undefined || caller.gatewayId === null) throw new Error(`no gateway ${index}`);
    return { ...caller, gatewayId: caller.gatewayId };
  }

  async send(index: number, make: (stream: Stream) => Parameters<typeof ingestBatch>[2]): Promise<void> {
    await ingestBatch(this.site, this.caller(index), make(this.stream(index)));
  }

  /** A write and a hold at one gateway. */
  async hold(index: number): Promise<{ session: number; sequence: number }> {
    const time = this.site.clock.now();
    await this.send(index, (stream) => {
      const write = { volume: stream.volumes[0]?.volume ?? 0, offset: 0, bytes: new Uint8Array(512).fill(3) };
      return stream.next([write], [{ kind: "hold", time }], time);
    });
    const { session, sequence } = this.stream(index);
    return { session, sequence };
  }

  /** A whole barrier; its id. */
  async barrier(): Promise<string> {
    const vector = [await this.hold(0), await this.hold(1)];
    const time = this.site.clock.now();
    await this.send(0, (stream) => stream.next([], [{ kind: "barrier", time, tag: "", vector }], time));
    return `${this.stream(0).session}-${this.stream(0).sequence}`;
  }

  async heartbeat(index: number, over: Partial<StreamState> = {}): Promise<void> {
    const { vpgId, session, sequence } = this.stream(index);
    const stream = {
      ...{ vpgId, term: 1, session, mode: "replicating", lastSequence: sequence, acknowledgedSequence: sequence },
      ...{ idle: true, backlogBytes: 10, lagMs: 0, sync: null, writes: 0, writtenBytes: 5, shippedBytes: 5, ...over },
    };
    const now = this.site.clock.now();
    const processId = newId(this.site.clock, this.site.random);
    const beat = { version: "1", sampledAt: now, processId, attachedOperations: [], streams: [stream] };
    await acceptHeartbeat(this.site, this.caller(index), heartbeatSchema.parse({ ...beat, siteTime: now }));
  }

  async commands(index: number): Promise<readonly string[]> {
    const commands = await pendingCommands(this.site, this.caller(index).gatewayId);
    return commands.map(({ commandId, body }) => `${body.kind} ${commandId.split(".").slice(2).join(".")}`);
  }

  async report(index: number, report: CommandReport): Promise<void> {
    for (const { commandId } of await pendingCommands(this.site, this.caller(index).gatewayId)) {
      await reportCommand(this.site, this.caller(index), commandId, report);
    }
  }

  async live(policy: "graceful" | "force"): Promise<Id> {
    const requestId = newId(this.site.clock, this.site.random);
    const shutdown = { policy, graceMs: 1000 };
    const options = { checkpoint: { kind: "latest" }, shutdown, commitPolicy: { action: "none" } } as const;
    const vpg = await getVpg(this.site, "shop");
    await startOperation(this.site, operator, vpg, { kind: "failover-live", options, requestId });
    return requestId;
  }
}

const done = { state: "done", result: {} } as const;
let group: Group;
beforeEach(async () => {
  group = new Group();
  await group.begin();
});

describe("a failover of a VPG whose VMs are on two gateways", () => {
  it("shuts both down, takes a last checkpoint of both, and recovers each disk up to its own gateway's position", async () => {
    const { site } = group;
    await group.barrier();
    for (const index of [0, 1]) await group.heartbeat(index);
    const operationId = await group.live("graceful");
    const step = stepNames.shutdownSource;
    const check = () => checkStep(site, operationId, step);
    await issueStep(site, operationId, step);
    const [a, b] = [group.caller(0).gatewayId, group.caller(1).gatewayId];
    expect(await group.commands(0)).toEqual([`shutdown-source ${step}.${a}`]);
    expect(await group.commands(1)).toEqual([`shutdown-source ${step}.${b}`]);
    const [command] = await pendingCommands(site, b);
    expect(command?.body).toMatchObject({ vms: ["vm2"] });

    await group.report(0, done);
    await expect(check()).rejects.toMatchObject({ name: "CommandRunning" });
    expect(await group.commands(0)).toEqual([]);
    await group.report(1, done);
    await expect(check()).rejects.toMatchObject({ name: "CommandRunning" });
    expect(await group.commands(0)).toEqual([`tag-checkpoint ${step}.checkpoint`]);
    const checkpointId = await group.barrier();
    await group.report(0, done);
    await check();
    expect(await getOperation(site, operationId)).toMatchObject({ sourceWasShutDown: true });

    await settleCheckpoint(site, operationId);
    await issueStep(site, operationId, stepNames.attachVolumes);
    const [attach] = await pendingCommands(site, group.caller(2).gatewayId);
    const [ofA, ofB] = [
      { session: 1, sequence: group.stream(0).sequence - 1 },
      { session: 2, sequence: group.stream(1).sequence },
    ];
    expect(attach?.body).toMatchObject({
      checkpointId,
      upTo: ofB,
      volumes: [
        { volume: 1, upTo: ofA },
        { volume: 2, upTo: ofB },
      ],
    });

    await changeOperation(site, operationId, () => ({ change: { phase: "BeforeCommit" } }));
    await decide(site, operator, operationId, { decision: "commit" });
    await changeOperation(site, operationId, () => ({ change: { phase: "Committing" } }));
    await takeOver(site, operationId);
    expect((await highestTerm(site, group.stream(0).vpgId))?.fork).toEqual([ofA, ofB]);
    for (const index of [0, 1]) await group.heartbeat(index);
    await sealOldTerm(site, operationId);
    expect((await getOperation(site, operationId)).lostTail).toEqual({
      certainty: "exact",
      ms: 0,
      writes: 0,
      bytes: 0,
    });
    for (const index of [0, 1]) {
      await expect(group.hold(index)).rejects.toMatchObject({ name: "Fenced" });
    }
  });

  it("counts what each gateway wrote behind the checkpoint, and is exact only when both have said their last", async () => {
    const { site } = group;
    await group.barrier();
    for (const index of [0, 1]) await group.heartbeat(index);
    const operationId = await group.live("graceful");
    await issueStep(site, operationId, stepNames.shutdownSource);
    for (const index of [0, 1]) await group.report(index, done);
    await checkStep(site, operationId, stepNames.shutdownSource).catch(() => undefined);
    await group.report(0, { state: "failed", error: { name: "NoCheckpoint", message: "one is in a sync" } });
    await checkStep(site, operationId, stepNames.shutdownSource);
    await settleCheckpoint(site, operationId);
    await group.hold(0);
    await group.hold(1);
    await group.hold(1);
    await changeOperation(site, operationId, () => ({ change: { phase: "BeforeCommit" } }));
    await decide(site, operator, operationId, { decision: "commit" });
    await changeOperation(site, operationId, () => ({ change: { phase: "Committing" } }));
    await takeOver(site, operationId);
    await group.heartbeat(0);
    await group.heartbeat(1, { lastSequence: 1000 });
    await sealOldTerm(site, operationId);
    expect((await getOperation(site, operationId)).lostTail).toMatchObject({ certainty: "at-least", writes: 3 });
  });

  it.each([
    ["graceful", "SourceShutdownFailed"],
    ["force", undefined],
  ] as const)("with one gateway silent, %s ends with %s", async (policy, error) => {
    const { site } = group;
    await group.barrier();
    await group.heartbeat(0);
    const operationId = await group.live(policy);
    await issueStep(site, operationId, stepNames.shutdownSource);
    if (error !== undefined) {
      await expect(checkStep(site, operationId, stepNames.shutdownSource)).rejects.toMatchObject({ name: error });
      expect(await group.commands(0)).toEqual([]);
      return;
    }
    await group.report(0, done);
    await checkStep(site, operationId, stepNames.shutdownSource);
    const operation = await getOperation(site, operationId);
    expect(operation.sourceWasShutDown).toBe(false);
    expect(operation.steps[stepNames.shutdownSource]?.result).toContain("1 of 2 source gateways silent");
  });
});

describe("what a site says of a VPG on two gateways", () => {
  it("an idle checkpoint holds until the oldest heartbeat that says so, and only if all gateways do", async () => {
    const { site } = group;
    await group.barrier();
    const newest = async () => (await listCheckpoints(site, group.stream(0).vpgId)).checkpoints[0]?.validThrough;
    const made = await newest();
    await site.clock.advance(5000);
    await group.heartbeat(0);
    expect(await newest()).toBe(made);
    await site.clock.advance(1000);
    await group.heartbeat(1);
    expect(await newest()).toBe(site.clock.now() - 1000);
    const heard = site.clock.now();
    await group.hold(1);
    await site.clock.advance(5000);
    // The first one still stands there; the second one's last word on that is of 5 s ago.
    for (const index of [0, 1, 0]) {
      await group.heartbeat(index);
      expect(await newest()).toBe(heard);
    }
  });

  it("names each gateway's mode, the worst for the VPG, and why there is no new checkpoint", async () => {
    const { site } = group;
    await group.barrier();
    await group.heartbeat(0, { barrierProblem: 'gateway gw-b is in mode "bitmap-sync"' });
    await group.heartbeat(1, { mode: "bitmap-sync", idle: false });
    const view = await vpgView(site, await getVpg(site, "shop"));
    expect(view).toMatchObject({
      substatus: "BitmapSync",
      mode: "bitmap-sync",
      backlogBytes: 20,
      barrierProblem: 'gateway gw-b is in mode "bitmap-sync"',
      sources: [
        { gateway: "gw-a", connected: true, mode: "replicating", session: 1 },
        { gateway: "gw-b", connected: true, mode: "bitmap-sync", session: 2 },
      ],
      vms: [{ name: "vm1" }, { name: "vm2", sourceGateway: "gw-b" }],
    });
    await site.clock.advance(16_000);
    await group.heartbeat(0);
    const { items } = await failoverCheck(site, await getVpg(site, "shop"));
    expect(items.filter(({ what }) => what === "source").map(({ state }) => state)).toEqual(["ok", "warning"]);
    expect(await vpgView(site, await getVpg(site, "shop"))).toMatchObject({ substatus: "DisconnectedFromPeer" });
  });

  it("takes of each gateway only its own volumes and records, and fences each by its own newest session", async () => {
    const { site } = group;
    const { vpgId } = group.stream(0);
    const ask = openAsk(site, vpgId, { lastSession: 1, volumes: offered(1) });
    await expect(openSession(site, group.caller(0), ask)).rejects.toMatchObject({ name: "VolumesDiffer" });
    const time = site.clock.now();
    const marker = group.stream(1).clone();
    const refused = { name: "MalformedBatch", details: { field: "records.kind" } };
    await expect(
      ingestBatch(site, group.caller(1), marker.next([], [{ kind: "marker", time, tag: "" }])),
    ).rejects.toMatchObject(refused);
    const vector = [1, 2].map((session) => ({ session, sequence: 1 }));
    const barrier = group
      .stream(1)
      .clone()
      .next([], [{ kind: "barrier", time, tag: "", vector }]);
    await expect(ingestBatch(site, group.caller(1), barrier)).rejects.toMatchObject(refused);

    const again = openAsk(site, vpgId, { lastSession: 2, acknowledgedBatch: 0, volumes: offered(1) });
    expect(await openSession(site, group.caller(1), again)).toMatchObject({ session: 3, journalEnd: { session: 2 } });
    await expect(group.hold(1)).rejects.toMatchObject({ name: "Fenced" });
    await group.hold(0);
  });

  it("refuses a definition whose own gateway has no disk, or with more gateways than a barrier names", async () => {
    const { site } = group;
    const input = severalGateways(names, { name: "other" });
    const [, second] = input.vms;
    if (second === undefined) throw new Error("no second VM");
    await expect(createVpg(site, { ...input, vms: [second] }, operator)).rejects.toMatchObject({
      name: "InvalidInput",
      details: { field: "sourceGateway" },
    });
    const many = Array.from({ length: 50 }, (_, index) => `gw-${index}`);
    await gatewayCallers(site, many);
    await expect(createVpg(site, severalGateways(many, { name: "many" }), operator)).rejects.toMatchObject({
      details: { field: "vms" },
    });
  });
});
