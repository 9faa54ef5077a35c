import { describe, expect, it } from "vitest";
import { z } from "zod";
import { openSessionReplySchema } from "#core/api/gateway-api.ts";
import type { CreateVpg } from "#core/api/site-api.ts";
import { compactJournal, compactJournals } from "#core/compaction/compact.ts";
import { idSchema, newId } from "#core/ids.ts";
import { manifestKey, operationKey } from "#core/journal/keys.ts";
import type { Objects, Workflows } from "#core/ports.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { imageHashes } from "#core/protection/image-hashes.ts";
import { ingestBatch as ingest } from "#core/protection/ingest.ts";
import { items } from "#core/protection/items.ts";
import { listBatches, readJournalObject } from "#core/protection/journal-reads.ts";
import { openSession } from "#core/protection/open-session.ts";
import { createToken } from "#core/protection/tokens.ts";
import { updateVpg } from "#core/protection/vpg-store.ts";
import { forgetOperation } from "#core/recovery/begun-operation.ts";
import { siteStatus } from "#core/recovery/site-status.ts";
import { collectJournals } from "#core/retention/collect.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { purgeDeletedVpgs } from "#core/retention/purge-deleted.ts";
import { retainJournals } from "#core/retention/retain.ts";
import { scrubJournals } from "#core/scrub/scrub-journals.ts";
import type { Site } from "#core/site.ts";
import { receiveEvent } from "#core/trigger/receive-event.ts";
import { lambdaContext } from "../cli/site/lambda-context.ts";
import { handler as gatewayApi } from "../functions/gateway-api/handler.ts";
import { handler as ingestBatch } from "../functions/ingest-batch/handler.ts";
import type { HttpHandler } from "../functions/shared/http-handler.ts";
import { runWithSite } from "../functions/shared/site.ts";
import { handler as siteApi } from "../functions/site-api/handler.ts";
import { decideAccess } from "../test/kit/iam-policies.ts";
import { SeededRandom } from "../test/kit/seeded-random.ts";
import { makeSite, openAsk, operator, protect, twoVolumes } from "../test/kit/site.ts";
import { SiteTemplate, testAccount, testRegion } from "../test/kit/site-template.ts";
import { Stream } from "../test/kit/stream.ts";
import { TriggerSite } from "../test/kit/trigger-site.ts";
import { expectInstants, WrittenSource } from "../test/kit/written-source.ts";
import { liveScenarios } from "../test/workflows/live-scenarios.ts";
import { moveScenarios } from "../test/workflows/move-scenarios.ts";
import { playReverse, reverseScenarios } from "../test/workflows/reverse-scenarios.ts";
import { play } from "../test/workflows/scenario.ts";
import { syncScenarios } from "../test/workflows/sync-scenarios.ts";
import { testScenarios } from "../test/workflows/test-scenarios.ts";

/** What was done through the ports of a site, by whom, as IAM would be asked: `who|action|resource|with If-None-Match`. */
class Recorder {
  readonly seen = new Set<string>();

  /** The site whose every call is noted as this function's. */
  readonly as = (who: string, site: Site): Site => ({
    ...site,
    objects: this.#objects(who, site.objects),
    workflows: this.#workflows(who, site.workflows),
    notify: {
      publish: (notice) => {
        this.seen.add([who, "events:PutEvents", "", ""].join("|"));
        return site.notify.publish(notice);
      },
    },
  });

  #objects(who: string, port: Objects): Objects {
    const note = (action: string, key: string, detail = "") => this.seen.add([who, action, key, detail].join("|"));
    return {
      get: (key, range) => {
        note("s3:GetObject", areaOf(key));
        return port.get(key, range);
      },
      head: (key) => {
        note("s3:GetObject", areaOf(key));
        return port.head(key);
      },
      put: (key, body, options) => {
        note("s3:PutObject", areaOf(key), options?.ifAbsent === true ? "if-none-match" : "");
        return port.put(key, body, options);
      },
      list: (prefix, options) => {
        note("s3:ListBucket", "");
        return port.list(prefix, options);
      },
      purge: (keys) => {
        note("s3:ListBucketVersions", "");
        for (const key of keys) note("s3:DeleteObjectVersion", areaOf(key));
        return port.purge(keys);
      },
      delete: (key) => {
        note("s3:DeleteObject", areaOf(key));
        return port.delete(key);
      },
    };
  }

  #workflows(who: string, port: Workflows): Workflows {
    const note = (action: string, machine: string) => this.seen.add([who, action, machine, ""].join("|"));
    const machines = ["delta-sync", "failover-live", "failover-test", "move"];
    const answered = (action: string) => machines.forEach((machine) => void note(action, machine));
    return {
      start: (machine, name, input) => {
        note("states:StartExecution", machine);
        return port.start(machine, name, input);
      },
      describe: (machine, name) => {
        note("states:DescribeExecution", machine);
        return port.describe(machine, name);
      },
      stop: (machine, name, error, cause) => {
        note("states:StopExecution", machine);
        return port.stop(machine, name, error, cause);
      },
      succeed: (token, output) => {
        answered("states:SendTaskSuccess");
        return port.succeed(token, output);
      },
      fail: (token, error, cause) => {
        answered("states:SendTaskFailure");
        return port.fail(token, error, cause);
      },
      heartbeat: (token) => {
        answered("states:SendTaskHeartbeat");
        return port.heartbeat(token);
      },
    };
  }
}

/** A key stands for all of its area. */
const areaOf = (key: string): string => (key.includes("/") ? `${key.split("/")[0]}/x` : key);

const template = new SiteTemplate();
const bucket = template.arnOf("AWS::S3::Bucket");

/** What the policies as synthesized refuse of what was done. */
function refused({ seen }: Recorder): string[] {
  return [...seen].filter((line) => {
    const [who = "", action = "", target = "", detail = ""] = line.split("|");
    const principal = template.roleOf(who);
    const context = {
      "s3:ObjectCreationOperation": "true",
      ...(detail === "" ? {} : { "s3:if-none-match": "*" }),
    };
    const request = { principal, action, resource: resourceOf(action, target), context };
    return !decideAccess(request, { identity: template.identityOf(principal), resource: template.bucketPolicy })
      .allowed;
  });
}

function resourceOf(action: string, target: string): string {
  if (action === "s3:ListBucket" || action === "s3:ListBucketVersions") return bucket;
  if (action === "events:PutEvents") return template.arnOf("AWS::Events::EventBus");
  if (action.startsWith("s3:")) return `${bucket}/${target}`;
  const states = `arn:aws:states:${testRegion}:${testAccount}`;
  const name = `farshore-berlin-${target}`;
  const ofExecution = action === "states:DescribeExecution" || action === "states:StopExecution";
  return ofExecution ? `${states}:execution:${name}:x` : `${states}:stateMachine:${name}`;
}

/** Every scenario there is, one after the other. */
const slowMs = 300_000;

describe("permissions are enough", { timeout: slowMs }, () => {
  it("for every function in every way that a failover or a test may go", async () => {
    const recorder = new Recorder();
    for (const scenario of [...liveScenarios, ...testScenarios, ...moveScenarios]) {
      const world = await play(scenario, { seenBy: recorder.as });
      world.close();
    }
    // Stopped from outside here and there, the reconciler ends it.
    const [committed] = liveScenarios;
    for (let stopAtEvent = 10; committed !== undefined && stopAtEvent < 130; stopAtEvent += 10) {
      const world = await play(committed, { stopAtEvent, reconcileEveryMs: 30_000, seenBy: recorder.as });
      world.close();
    }
    const who = new Set([...recorder.seen].map((line) => line.split("|")[0]));
    expect([...who]).toEqual(
      expect.arrayContaining(["site-api", "mint-term", "seal-sessions", "end-operation", "reconciler"]),
    );
    expect(refused(recorder)).toEqual([]);
  });

  it("for every function in every way that a delta-sync may go", async () => {
    const recorder = new Recorder();
    for (const scenario of syncScenarios) {
      const world = await play(scenario, { seenBy: recorder.as });
      world.close();
    }
    const who = new Set([...recorder.seen].map((line) => line.split("|")[0]));
    expect([...who]).toEqual(expect.arrayContaining(["next-pages", "compare-page", "verify-sync", "end-operation"]));
    expect(refused(recorder)).toEqual([]);
  });

  it("for the functions behind URLs, over the life of a VPG", async () => {
    const recorder = new Recorder();
    await lifeOf(twoVolumes, recorder);
    const who = new Set([...recorder.seen].map((line) => line.split("|")[0]));
    expect([...who].sort()).toEqual(["gateway-api", "ingest-batch", "site-api"]);
    expect(refused(recorder)).toEqual([]);
  });

  it("for what receives events, watches sources and starts failovers", async () => {
    const recorder = new Recorder();
    const world = await TriggerSite.make({ policy: "automatic", minimumDurationMs: 10_000 });
    await world.look("heard");
    const time = new Date(world.clock.now()).toISOString();
    const event = { id: "e", source: "oncall", "detail-type": "x", time, detail: { vpg: "shop", reason: "smoke" } };
    await receiveEvent(recorder.as("receive-event", world.site), event);
    await world.look("silent", 12, recorder.as("site-monitor", world.site));
    await siteStatus(recorder.as("site-monitor", world.site));
    expect(world.started).toHaveLength(1);
    expect([...recorder.seen]).toContain("site-monitor|events:PutEvents||");
    expect([...recorder.seen]).toContain("site-monitor|states:StartExecution|failover-live|");
    expect(refused(recorder)).toEqual([]);
  });

  it("for the compactor, one that comes second too, and for whoever reads its layers", async () => {
    const recorder = new Recorder();
    const site = makeSite();
    const { vpg, source } = await protect(site);
    const stream = new Stream(vpg.vpgId, await openSession(site, source, openAsk(site, vpg.vpgId)));
    await ingest(site, source, stream.synced());
    for (let sent = 0; sent < 20; sent += 1) await ingest(site, source, stream.checkpoint(sent));
    const { objects, table } = site;
    const two = [3, 4].map((seed) => recorder.as("compact-journal", makeSite({ objects, table, seed })));
    await Promise.all(two.map((each) => compactJournal(each, vpg.vpgId)));
    expect([...recorder.seen]).toContain("compact-journal|s3:DeleteObject|layers/x|");
    const reader = recorder.as("gateway-api", site);
    const { manifest = 0 } = await listBatches(reader, vpg, { session: 1, sequence: 9 }, { manifest: 0 });
    await readJournalObject(reader, vpg, manifestKey(vpg.vpgId, manifest));
    const ask = { vpgId: vpg.vpgId, volume: 1, page: 0, upTo: { session: 1, sequence: stream.sequence } };
    await imageHashes(reader, vpg, ask, async () => undefined);
    expect([...recorder.seen]).toContain("gateway-api|s3:GetObject|layers/x|");
    expect(refused(recorder)).toEqual([]);
  });

  it("for retention, the collector and the scrub", async () => {
    const recorder = new Recorder();
    const site = makeSite();
    const { clock } = site;
    const retention = { tiers: [{ everyMs: 0, forMs: 60_000 }], taggedMs: 60_000 };
    const { vpg, source } = await protect(site, { ...twoVolumes, retention });
    const writer = new WrittenSource(site, {
      ...{ vpgId: vpg.vpgId, caller: source, random: new SeededRandom(1) },
      volumes: openAsk(site, vpg.vpgId).volumes,
      nextTime: async () => {
        await clock.advance(10_000);
        return clock.now();
      },
    });
    await writer.open();
    await writer.write(400);
    const [compactor, collector, scrubber] = (["compact-journal", "collect-journal", "scrub-journal"] as const).map(
      (who, index) =>
        recorder.as(who, { ...makeSite({ objects: site.objects, table: site.table, seed: 7 + index }), clock }),
    );
    if (compactor === undefined || collector === undefined || scrubber === undefined) throw new Error("no sites");
    for (let hour = 0; hour < 4; hour += 1) {
      await compactJournals(compactor);
      await retainJournals(compactor);
      await collectJournals(collector);
      await scrubJournals(scrubber);
      await clock.advance(3_590_000);
      await writer.write(8);
    }
    expect([...recorder.seen]).toContain("compact-journal|s3:PutObject|packs/x|if-none-match");
    expect([...recorder.seen]).toContain("collect-journal|s3:DeleteObjectVersion|journal/x|");
    for (const area of ["journal", "packs", "layers", "manifests", "digests", "sessions"]) {
      expect([...recorder.seen]).toContain(`scrub-journal|s3:GetObject|${area}/x|`);
    }
    const reader = recorder.as("gateway-api", site);
    await expectInstants(reader, vpg, { instants: writer.instants.slice(-1) });
    await deleteVpg(recorder.as("site-api", site), operator, vpg.vpgId);
    for (let done = false; !done; await clock.advance(retentionLimits.deletedLookMsMax)) {
      done = (await purgeDeletedVpgs(collector, Number.POSITIVE_INFINITY))[vpg.vpgId]?.done === true;
    }
    expect([...recorder.seen]).toContain("collect-journal|s3:PutObject|digests/x|if-none-match");
    expect(refused(recorder)).toEqual([]);
  });

  it("for both sites of a reverse protection, in every way it may go", async () => {
    const recorder = new Recorder();
    for (const scenario of reverseScenarios) (await playReverse(scenario, { seenBy: recorder.as })).close();
    expect([...recorder.seen]).toContain("ask-peer|s3:PutObject|offers/x|if-none-match");
    expect([...recorder.seen]).toContain("site-api|s3:PutObject|terms/x|if-none-match");
    expect(refused(recorder)).toEqual([]);
  });

  it("for who declares a forgotten operation to be over", async () => {
    const recorder = new Recorder();
    const site = makeSite();
    const { vpg } = await protect(site);
    const operationId = newId(site.clock, site.random);
    const attempt = { operationId, kind: "failover-live" as const, attempt: 1, startedAt: 0 };
    await updateVpg(site, vpg, { forgotten: [{ ...attempt, known: false }] });
    await site.objects.put(operationKey(vpg.vpgId, operationId, 1), new Uint8Array(), { ifAbsent: true });
    await forgetOperation(recorder.as("site-api", site), operator, operationId);
    expect([...recorder.seen]).toContain("site-api|s3:PutObject|operations/x|if-none-match");
    expect(refused(recorder)).toEqual([]);
  });

  it("and would be missed", () => {
    const recorder = new Recorder();
    recorder.seen.add("ingest-batch|s3:PutObject|terms/x|if-none-match");
    recorder.seen.add("mint-term|s3:PutObject|terms/x|");
    recorder.seen.add("mint-term|s3:PutObject|terms/x|if-none-match");
    expect(refused(recorder)).toEqual([
      "ingest-batch|s3:PutObject|terms/x|if-none-match",
      "mint-term|s3:PutObject|terms/x|",
    ]);
  });
});

/** A VPG from its creation to its end, by the calls that gateways and people make. */
async function lifeOf(definition: CreateVpg, recorder: Recorder): Promise<void> {
  const site = makeSite();
  const person = (await createToken(site, { name: "ann", role: "operator" }, operator)).token;
  const call = callerOf(site, recorder);
  const tokenOf = async (name: string): Promise<string> =>
    String((await call("site-api", siteApi, person, "POST", "/v1/tokens", { name, role: "gateway" }))["token"]);
  const source = await tokenOf(definition.sourceGateway);
  await tokenOf(definition.recoveryGateway ?? "");
  const people = (method: string, path: string, body?: unknown) =>
    call("site-api", siteApi, person, method, path, body);
  const gateway = (method: string, path: string, body?: unknown) =>
    call("gateway-api", gatewayApi, source, method, `/gateway/v1${path}`, body);
  const created = await people("POST", "/v1/vpgs", definition);
  const vpgId = idSchema.parse(created["vpgId"]);
  // Twice: the second opening seals the first session.
  const first = openAsk(site, vpgId);
  await gateway("POST", "/sessions", first);
  const opened = await gateway("POST", "/sessions", { ...openAsk(site, vpgId), lastSession: 1 });
  const stream = new Stream(vpgId, openSessionReplySchema.parse(opened));
  const sent = [stream.synced(), stream.checkpoint(site.clock.now(), "tag")];
  // The last one twice: what is there already is read and compared.
  for (const batch of [...sent, ...sent.slice(-1)]) {
    const path = `/gateway/v1/batches/${vpgId}/${batch.term}/${batch.session}/${batch.batch}`;
    await call("ingest-batch", ingestBatch, source, "PUT", path, batch.body);
  }
  const state = {
    ...{ vpgId, term: 1, session: 2, lastSequence: stream.sequence, acknowledgedSequence: stream.sequence },
    ...{
      mode: "replicating",
      idle: true,
      backlogBytes: 0,
      lagMs: 0,
      sync: null,
      writes: 0,
      writtenBytes: 0,
      shippedBytes: 0,
    },
  };
  const streams = [state, { ...state, vpgId: newId(site.clock, site.random) }];
  const beat = { version: "1", sampledAt: site.clock.now(), processId: vpgId, attachedOperations: [], streams };
  await gateway("POST", "/heartbeat", beat);
  const upTo = { session: 2, sequence: stream.sequence };
  await gateway("POST", "/hashes", { vpgId, volume: 1, page: 0, upTo });
  await gateway("GET", `/vpgs/${vpgId}/role`);
  await gateway("GET", `/vpgs/${vpgId}/batches?session=2&sequence=1`);
  await gateway("GET", `/vpgs/${vpgId}/objects/journal/${vpgId}/0000000001/0000000002/000000000000`);
  const lease = `/v1/vpgs/shop/leases/${newId(site.clock, site.random)}`;
  await people("POST", lease, { checkpoint: `2-${stream.sequence}` });
  await people("DELETE", lease);
  const peer = { name: "paris", siteId: null, url: "https://paris.example.com", region: null, journal: true };
  await people("POST", "/v1/peers", peer);
  // The table lost it: its revision is found in the bucket.
  await site.table.transact([{ delete: items.peer("paris") }]);
  await people("POST", "/v1/peers", peer);
  for (const path of [
    "/v1/status",
    "/v1/vpgs",
    "/v1/vpgs/shop/checkpoints",
    "/v1/vpgs/shop/failover-check",
    "/v1/vpgs/shop/move-check",
  ])
    await people("GET", path);
  await people("DELETE", "/v1/vpgs/shop");
  await gateway("GET", `/vpgs/${vpgId}/role`);
  await people("DELETE", "/v1/peers/paris");
}

/** Calls a function as its URL does; throws when it is refused. */
function callerOf(site: Site, recorder: Recorder) {
  return async (
    who: string,
    handler: HttpHandler,
    token: string,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<Readonly<Record<string, unknown>>> => {
    const [rawPath = "", rawQueryString = ""] = path.split("?");
    const event = {
      ...{ rawPath, rawQueryString, isBase64Encoded: false, headers: { authorization: `Bearer ${token}` } },
      ...(body instanceof Uint8Array
        ? { bytes: body }
        : { body: body === undefined ? undefined : JSON.stringify(body) }),
      requestContext: { requestId: "r", timeEpoch: site.clock.now(), http: { method } },
    };
    const context = lambdaContext(who, "r");
    const {
      statusCode,
      body: text = "{}",
      isBase64Encoded,
    } = await runWithSite(recorder.as(who, site), () => handler(event, context));
    if (statusCode !== 200 && statusCode !== 201) throw new Error(`${method} ${path}: ${statusCode} ${text}`);
    return isBase64Encoded ? {} : z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  };
}
