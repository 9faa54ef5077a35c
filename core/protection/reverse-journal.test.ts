import { expect, it } from "vitest";
import { heartbeatSchema } from "#core/api/gateway-api.ts";
import { idSchema, newId } from "#core/ids.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { issueCommand, pendingCommands, reportCommand, sweepCommands } from "./commands.ts";
import { volumesOf } from "./definition.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { protectionLimits as limits } from "./limits.ts";
import { openSession } from "./open-session.ts";
import { advanceReverse, offerReply } from "./reverse-journal.ts";
import { getVpg, updateVpg } from "./vpg-store.ts";
import { vpgView } from "./vpg-view.ts";

const hourMs = 3_600_000;
const progress = { comparedChunks: 16, differingChunks: 3, totalChunks: 16, shippedBytes: 196_608, etaMs: null };

it("tells of the running sync, else of the one that ended last, and of none of another term", async () => {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const { term, session } = await openSession(site, source, openAsk(site, vpg.vpgId));
  const told = async (about: object, n = term) => {
    const stream = {
      ...{ vpgId: vpg.vpgId, term, session, lastSequence: 1, acknowledgedSequence: 1, mode: "replicating" },
      ...{ idle: true, backlogBytes: 0, lagMs: 0, writes: 0, writtenBytes: 0, shippedBytes: 0, ...about },
    };
    const processId = newId(site.clock, site.random);
    const beat = { version: "1", sampledAt: 0, processId, attachedOperations: [], streams: [stream] };
    await acceptHeartbeat(site, source, heartbeatSchema.parse(beat));
    return (await offerReply(site, vpg, n, { state: "journal", refusal: null })).sync;
  };
  const running = { ...progress, comparedChunks: 4 };
  expect(await told({ sync: running, lastSync: progress })).toEqual(running);
  expect(await told({ sync: null, lastSync: progress })).toEqual(progress);
  expect(await told({ sync: null, lastSync: progress }, term + 1)).toBeNull();
  expect(await told({ sync: null })).toBeNull();
});

it("tells which old disks are not in the journal, and why", async () => {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const operationId = newId(site.clock, site.random);
  const gateways = [idSchema.parse(source.gatewayId), newId(site.clock, site.random)];
  const detailOf = async (attempt: number, ...results: readonly Parameters<typeof reportCommand>[3][]) => {
    for (const [index, gatewayId] of gateways.entries()) {
      const commandId = `${operationId}.2.${attempt}.seed-volumes.${gatewayId}`;
      const volumes = volumesOf(vpg.definition);
      const body = {
        ...{ kind: "seed-volumes" as const, operationId, vpgId: vpg.vpgId, vpgName: "shop", term: 2 },
        volumes: volumes.map(({ volume, vmName, name, sizeBytes, sectorBytes }) => ({
          ...{ volume, vmName, name, sizeBytes, sectorBytes },
        })),
      };
      await issueCommand(site, gatewayId, { commandId, body });
      const report = results[index];
      if (report !== undefined) await reportCommand(site, { ...source, gatewayId }, commandId, report);
    }
    const offer = { n: 2, operationId, gatewayLost: false, closed: true, begun: true, gateways };
    const preparing = { ...vpg, role: "Preparing" as const, reverse: { ...offer, attempt } };
    const { seeded, detail } = await offerReply(site, preparing, 2, { state: "preparing", refusal: null });
    expect((await vpgView(site, preparing)).reverseWaits ?? "").toBe(detail);
    return { seeded, detail };
  };
  const done = (leftOut: readonly object[], unreadableBytes = 0) => ({
    state: "done" as const,
    result: { hashedBytes: 0, differingBytes: 0, shippedBytes: 0, unreadableBytes, leftOut },
  });
  const none = { volume: 1, why: "this gateway has no volume db/data" };
  const small = { volume: 1, why: "data.img of db/data has 512 bytes" };
  expect(await detailOf(1, done([none]), done([]))).toEqual({ seeded: true, detail: "" });
  const { seeded, detail } = await detailOf(2, done([none]), done([small], 1024));
  expect(seeded).toBe(true);
  expect(detail).toBe(
    `${none.why}: the sync sends it; ${small.why}: the sync sends it; 1.00 KiB of the old disks can't be read: the sync sends them`,
  );
  const error = { name: "CommandFailed", message: "the seed db/data can't be read" };
  expect(await detailOf(3, done([]), { state: "failed", error })).toEqual({
    seeded: true,
    detail: `seed-volumes at gateway ${gateways[1]} failed: CommandFailed: ${error.message}`,
  });
});

it("leaves a gateway that said nothing a while before it asks again, also when its command is out of the queue", async () => {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const operationId = newId(site.clock, site.random);
  const gatewayId = idSchema.parse(source.gatewayId);
  const offer = { n: 2, operationId, gatewayLost: false, closed: false, begun: false };
  await updateVpg(site, vpg, { role: "Retired", reverse: { ...offer, gateways: [gatewayId], attempt: 1 } });
  const attempt = async () => (await advanceReverse(site, await getVpg(site, vpg.vpgId))).reverse?.attempt;
  expect(await attempt()).toBe(1);
  site.clock.leap(limits.commandExpiryMs);
  expect(await sweepCommands(site, gatewayId)).toBe(1);
  expect(await attempt()).toBe(1);
  site.clock.leap(limits.reverseAgainMs);
  expect(await attempt()).toBe(2);
});

it("asks a gateway that could not close again, also when the clock was hours ahead as it said so", async () => {
  const site = makeSite();
  const { vpg, source } = await protect(site);
  const operationId = newId(site.clock, site.random);
  const gatewayId = idSchema.parse(source.gatewayId);
  const offer = {
    n: 2,
    operationId,
    gatewayLost: false,
    closed: false,
    begun: false,
    gateways: [gatewayId],
    attempt: 1,
  };
  await updateVpg(site, vpg, { role: "Retired", reverse: offer });
  const closing = await getVpg(site, vpg.vpgId);
  site.clock.leap(30 * hourMs);
  await advanceReverse(site, closing);
  for (const { commandId } of await pendingCommands(site, gatewayId)) {
    const error = { name: "CommandFailed", message: "its disk is busy" };
    await reportCommand(site, source, commandId, { state: "failed", error });
  }
  site.clock.leap(-30 * hourMs);
  expect((await advanceReverse(site, closing)).reverse?.attempt).toBe(2);
});
