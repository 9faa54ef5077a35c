import { expect, it } from "vitest";
import { heartbeatSchema } from "#core/api/gateway-api.ts";
import { newId } from "#core/ids.ts";
import { makeSite, openAsk, protect } from "../../test/kit/site.ts";
import { acceptHeartbeat } from "./heartbeat.ts";
import { openSession } from "./open-session.ts";
import { offerReply } from "./reverse-journal.ts";

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
