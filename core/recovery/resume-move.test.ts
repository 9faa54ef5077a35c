import { describe, expect, it } from "vitest";
import type { StreamState } from "#core/api/gateway-api.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { decisionKey, offerKey, reportKey, termKey } from "#core/journal/keys.ts";
import { jsonBytes } from "#core/json.ts";
import type { ExecutionDescription, Workflows } from "#core/ports.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { items } from "#core/protection/items.ts";
import { openSession } from "#core/protection/open-session.ts";
import { moveOptionsSchema } from "#core/protection/operation.ts";
import type { Term } from "#core/protection/term.ts";
import { highestTerm, termsOf } from "#core/protection/terms.ts";
import { getVpg, updateVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import type { Site } from "#core/site.ts";
import { makeSite, noWorkflows, openAsk, operator, protect } from "../../test/kit/site.ts";
import { Stream } from "../../test/kit/stream.ts";
import { beginOperation, settleCheckpoint } from "./begin-operation.ts";
import { checkStep, issueStep } from "./command-step.ts";
import { takeOver } from "./commit.ts";
import { decide, settleDecision } from "./decide.ts";
import { changeOperation } from "./operation-store.ts";
import { resumeMove } from "./resume-move.ts";
import { enterDecided } from "./route.ts";
import { startOperation } from "./start-operation.ts";
import { stepNames, undoStepsOf } from "./steps.ts";

const options = moveOptionsSchema.parse({
  ...{ graceMs: 1000, commitPolicy: { action: "none" }, source: "keep", verify: false },
});

const noon = Date.UTC(2030, 0, 1, 12);

const peer = idSchema.parse("01k3pee0000000000000000001");

/** What a peer's reverse protection has minted: it runs the VPG, and this site journals it. */
const peersTerm = ({ siteId }: Site, vpgId: Id, operationId: Id): Term => ({
  ...{ formatVersion: 1, vpgId, n: 2, minter: peer, runs: peer, journal: siteId, parent: 1 },
  ...{ fork: [], mintedAt: noon, operationId },
});

type Status = ExecutionDescription["status"];

/** A protected VPG whose source gateway says that an operation closed it; executions that are known, by name. */
async function closedSite(operationId: Id, known: Readonly<Record<string, Status>> = {}) {
  const executions = new Map<string, Status>(Object.entries(known));
  const workflows: Workflows = {
    ...noWorkflows,
    start: async (_machine, name) => void executions.set(name, "RUNNING"),
    stop: async (_machine, name) => void executions.set(name, "ABORTED"),
    describe: async (_machine, name) => {
      const status = executions.get(name);
      return status && { name, status, startedAt: noon };
    },
  };
  const site = makeSite({ workflows });
  const { vpg, source, recovery } = await protect(site);
  const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
  for (const sent of [stream.synced(), stream.checkpoint(noon)]) await ingestBatch(site, source, sent);
  const counts = { backlogBytes: 0, lagMs: 0, writes: 0, writtenBytes: 0, shippedBytes: 0 };
  const heard: StreamState = {
    ...{ vpgId: vpg.vpgId, term: 1, session: 0, lastSequence: 0, acknowledgedSequence: 0, sync: null, idle: false },
    ...{ mode: "closed", closedBy: operationId, ...counts },
  };
  const beat = { version: "1", sampledAt: site.clock.now(), processId: operationId, attachedOperations: [] };
  await acceptHeartbeat(site, source, { ...beat, streams: [heard] });
  return { site, vpg, source, recovery, executions };
}

describe("a move that a rebuilt site has forgotten", () => {
  const operationId = idSchema.parse("01k3f0rg0t0000000000000001");

  it("goes on under its own id in an execution of its own, and is told of only until then", async () => {
    const { site, vpg, executions } = await closedSite(operationId, {
      [`${operationId}.1`]: "RUNNING",
      [`${operationId}.2`]: "TIMED_OUT",
    });
    expect((await vpgView(site, vpg)).sourceClosed).toContain(`farshore move resume ${vpg.definition.name}`);
    const resumed = await resumeMove(site, operator, vpg.vpgId);
    expect(resumed).toMatchObject({ operationId, attempt: 3, kind: "move", move: { source: "keep" } });
    expect([...executions.values()], "none of before goes on beside it").toEqual(["ABORTED", "TIMED_OUT", "RUNNING"]);
    expect(executions.get(`${operationId}.3`)).toBe("RUNNING");
    expect((await vpgView(site, await getVpg(site, vpg.vpgId))).sourceClosed).toBeUndefined();
    await expect(resumeMove(site, operator, vpg.vpgId)).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("asks gateways under names of its own: one may still keep the answer to a command of before", async () => {
    const { site, vpg, executions } = await closedSite(operationId);
    const asked = async (): Promise<readonly string[]> => {
      await issueStep(site, operationId, stepNames.closeVolumes);
      return (await pendingCommands(site, vpg.definition.sourceGatewayId)).map(({ commandId }) => commandId);
    };
    await startOperation(site, operator, vpg, { kind: "move", requestId: operationId, options });
    const first = await asked();
    await site.table.transact([
      { delete: items.operation(operationId) },
      { delete: items.operationIndex(operationId) },
      { delete: items.command(vpg.definition.sourceGatewayId, first[0] ?? "") },
    ]);
    await updateVpg(site, await getVpg(site, vpg.vpgId), { operationId: null });
    executions.clear();
    await resumeMove(site, operator, vpg.vpgId);
    const second = await asked();
    expect([first.length, second.length]).toEqual([1, 1]);
    expect(second).not.toEqual(first);
  });

  it("stays undone once that was decided, whatever the table has lost", async () => {
    const { site, vpg } = await closedSite(operationId);
    const decision = { decision: "rollback", by: "ann", at: noon, success: null, notes: "" } as const;
    await site.objects.put(decisionKey(vpg.vpgId, operationId), jsonBytes(decision));
    await resumeMove(site, operator, vpg.vpgId);
    expect(await beginOperation(site, operationId)).toBe("undo");
    const commit = decide(site, operator, operationId, { decision: "commit" });
    await expect(commit).rejects.toMatchObject({ name: "AlreadyDecided" });
  });

  it.each(["term", "offer", "report"] as const)(
    "is not what a %s in the bucket tells of: a gateway may say anything",
    async (kind) => {
      const { site, vpg } = await closedSite(operationId);
      const { vpgId } = vpg;
      const term = peersTerm(site, vpgId, operationId);
      const offer = {
        ...{ formatVersion: 1, vpgId, operationId, term, lineage: await termsOf(site, vpgId) },
        ...{ definition: vpg.definition, gatewayLost: false, initiatedBy: "ann" },
      };
      const objects = {
        term: [termKey(vpgId, 2, peer), term],
        offer: [offerKey(vpgId, 2, peer), offer],
        report: [reportKey(vpgId, operationId, 1, "json"), {}],
      } as const;
      const [key, object] = objects[kind];
      await site.objects.put(key, jsonBytes(object));
      await updateVpg(site, await getVpg(site, vpgId), { term: kind === "term" ? 2 : 1 });
      await expect(resumeMove(site, operator, vpgId)).rejects.toThrow("no move that was left open");
      expect((await getVpg(site, vpgId)).operationId).toBeNull();
    },
  );

  it("mints a term of its own at its commit, though one of a peer's carries its id", async () => {
    const { site, vpg } = await closedSite(operationId);
    const { vpgId } = vpg;
    await site.objects.put(termKey(vpgId, 2, peer), jsonBytes(peersTerm(site, vpgId, operationId)));
    const held = await updateVpg(site, await getVpg(site, vpgId), { term: 2 });
    await startOperation(site, operator, held, { kind: "move", requestId: operationId, options });
    await settleCheckpoint(site, operationId);
    await changeOperation(site, operationId, () => ({ change: { phase: "BeforeCommit" } }));
    await decide(site, operator, operationId, { decision: "commit" });
    await changeOperation(site, operationId, () => ({ change: { phase: "Committing" } }));
    await takeOver(site, operationId);
    expect(await highestTerm(site, vpgId)).toMatchObject({ n: 3, minter: site.siteId, runs: site.siteId, operationId });
    expect(await getVpg(site, vpgId)).toMatchObject({ term: 3, role: "Runs" });
  });

  it("is undone with its recovered VMs stopped first, though none of its own steps tells of them", async () => {
    const { site, vpg, source, recovery } = await closedSite(operationId);
    const resumed = await resumeMove(site, operator, vpg.vpgId);
    const rollback = { decision: "rollback", by: "ann", success: null, notes: "" } as const;
    await enterDecided(site, operationId, await settleDecision(site, resumed, rollback));
    const asked: string[] = [];
    for (const step of undoStepsOf(resumed)) {
      await issueStep(site, operationId, step);
      for (const gateway of [recovery, source]) {
        for (const { commandId, body } of await pendingCommands(site, gateway.gatewayId ?? operationId)) {
          asked.push(body.kind);
          await reportCommand(site, gateway, commandId, { state: "done", result: {} });
        }
      }
      await checkStep(site, operationId, step);
    }
    expect(asked).toEqual(["stop-vms", "detach-volumes", "open-volumes", "power-on-source"]);
  });

  it("is not what closed a source of an operation that is known here", async () => {
    const { site, vpg } = await closedSite(operationId);
    await startOperation(site, operator, vpg, { kind: "move", requestId: operationId, options });
    await expect(resumeMove(site, operator, vpg.vpgId)).rejects.toMatchObject({ name: "InvalidInput" });
  });
});
