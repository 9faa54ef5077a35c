import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import { EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { ListExecutionsCommand, SFNClient } from "@aws-sdk/client-sfn";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type OperationView, operationViewSchema, statusReplySchema } from "#core/api/site-api.ts";
import { formatBytes } from "#core/units.ts";
import { damage, differingBytes, exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { until, vm, vpg } from "../../scripts/demo/stage.ts";
import { readWriteLog } from "../../scripts/demo/write-log.ts";
import { clientSettings } from "../../scripts/local-aws/clients.ts";
import { guestsOn, type NbdGuest } from "../kit/nbd-guest.ts";
import { readDisks } from "../kit/read-disks.ts";
import { accountAws } from "./account-aws.ts";
import type { LocalAws, SiteRole } from "./ground.ts";
import { readExecution } from "./history.ts";
import { localstackAws } from "./localstack-aws.ts";
import { ministackAws } from "./ministack-aws.ts";
import { signedGet } from "./signed-fetch.ts";
import { DeployStage, ofGuests, volumes } from "./stage.ts";

/** An event of this source spares the rest of an hour's silence: nothing else could start a failover within the suite. */
const trigger = `[trigger]
policy = "automatic"
minimum_duration = "1h"
confirm_by = ["drill"]
accept_two_copies = "the source of this test is killed before its failover starts"
`;

/** [volume, offset] of old disks, on no boundary of chunks, that are written to behind everybody's back; half a MiB each. */
const damages = [
  [0, 5 * 2 ** 20 + 12_288],
  [0, 21 * 2 ** 20 + 512],
  [2, 7 * 2 ** 20 + 1024],
  [3, 512],
  [4, 2 * 2 ** 20 + 4608],
] as const;

const denied = { name: "AccessDenied" };
const noPolicies = "evaluates no policies";

/** One story a ground, told in order: what a test leaves, the next goes on with. */
describe.each([ministackAws, localstackAws, accountAws])("sites on $name", (aws: LocalAws) => {
  const began = performance.now();
  const say = (text: string) =>
    console.info(`${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  let missing: string | undefined;
  let stage: DeployStage;
  /** The failover that an event started, and how many writes of the application it recovered. */
  let committed: OperationView;
  let recovered = 0;
  /** On the volumes that the application leaves alone: at paris, then at berlin. */
  let guests: readonly NbdGuest[] = [];
  beforeAll(async () => {
    missing = await aws.whyNot();
    if (missing === undefined) stage = await DeployStage.deploy(aws, say);
  });
  beforeEach((context) => {
    if (missing !== undefined) context.skip(missing);
  });
  afterAll(async () => stage?.close());

  it("each site answers at its URL, as itself, to who may call", async () => {
    const berlin = statusReplySchema.parse(JSON.parse((await get("operator", "/v1/status")).text));
    expect(berlin.site.name).toBe(stage.siteName("berlin"));
    expect(berlin.vpgs).toEqual([]);
  });

  it("who isn't admitted is refused at the door, and who isn't known inside", async (context) => {
    if (!aws.authorizes) context.skip(noPolicies);
    expect((await fetch(new URL("v1/status", stage.output("SiteApiUrl")))).status).toBe(403);
    expect((await get("stranger", "/v1/status")).status).toBe(403);
    expect((await get("source-gateway", "/v1/status")).status).toBe(403);
    // The door is open to whom the stack's policy is attached; the site doesn't know this one yet.
    expect(await get("viewer", "/v1/status")).toMatchObject({
      status: 401,
      text: expect.stringContaining("Unauthenticated"),
    });
    await stage.farshore(
      ...["token", "create", "--role", "viewer", "--name", "eve", "--iam-role", stage.roles.arn("viewer")],
    );
    expect((await get("viewer", "/v1/status")).status).toBe(200);
    // Who is somebody at one site is nobody at another.
    expect((await get("viewer", "/v1/status", "paris")).status).toBe(403);
  });

  it("the VPG is made by the command line, and batches go through the deployed function into bucket and table", async () => {
    await stage.introduce();
    await stage.protect(trigger);
    stage.startWorkload("workload", stage.writesLog, stage.sourceUris);
    const blank = ofGuests(volumes).map(({ bytes }) => Buffer.alloc(bytes));
    guests = await guestsOn(ofGuests(stage.sourceUris), blank, 1);
    await Promise.all(guests.map((guest) => guest.work(40)));
    await until("ten checkpoints", 120_000, async () => ((await stage.show()).checkpoints >= 10 ? true : undefined));
    const { length } = await batches();
    expect(length).toBeGreaterThan(5);
    const { Count = 0 } = await dynamo().send(new ScanCommand({ TableName: stage.output("Table"), Select: "COUNT" }));
    expect(Count).toBeGreaterThan(length);
    say(`protected: ${length} batches`);
  });

  it("the bucket keeps what is written once, whoever may write to S3", async (context) => {
    if (!aws.authorizes) context.skip(noPolicies);
    const [{ Key } = {}] = await journal();
    const Bucket = stage.output("Bucket");
    const vandal = s3(await stage.as("vandal"));
    await expect(vandal.send(new GetObjectCommand({ Bucket, Key }))).resolves.toBeDefined();
    await expect(vandal.send(new PutObjectCommand({ Bucket, Key, Body: "x" }))).rejects.toMatchObject(denied);
    await expect(vandal.send(new PutObjectCommand({ Bucket, Key, Body: "x", IfNoneMatch: "*" }))).rejects.toMatchObject(
      { name: "PreconditionFailed" },
    );
    // Where the suite itself must clean up, its sites are deployed so that it can.
    if (aws.namePrefix === "") {
      await expect(vandal.send(new DeleteObjectCommand({ Bucket, Key }))).rejects.toMatchObject(denied);
    }
    const gateway = s3(await stage.as("source-gateway"));
    await expect(gateway.send(new GetObjectCommand({ Bucket, Key }))).rejects.toMatchObject(denied);
  });

  it("the scheduled scrub reads the journal back, and tells of a byte that the store changed until it is good again", async () => {
    expect(await scrubbed()).toMatchObject({ coveragePercent: 100, ageMs: expect.any(Number), findings: 0 });
    // The bucket's policy holds administrators off too, but for an account's root where that is above all policies.
    if (aws.namePrefix !== "") return;
    const [{ Key } = {}] = (await batches()).sort((left, right) => (right.Size ?? 0) - (left.Size ?? 0));
    const Bucket = stage.output("Bucket");
    const { Body } = await s3().send(new GetObjectCommand({ Bucket, Key }));
    const stored = Buffer.from((await Body?.transformToByteArray()) ?? "");
    const changed = Buffer.from(stored);
    changed.writeUInt8(stored.readUInt8(stored.length - 1) ^ 1, stored.length - 1);
    await s3().send(new PutObjectCommand({ Bucket, Key, Body: changed }));
    expect(await scrubbed()).toMatchObject({ findings: 1, first: expect.stringContaining(Key ?? "") });
    expect(await alerts()).toContain(`journal-damaged:${vpg}`);
    await s3().send(new PutObjectCommand({ Bucket, Key, Body: stored }));
    expect(await scrubbed()).toMatchObject({ findings: 0 });
    expect(await alerts()).not.toContain(`journal-damaged:${vpg}`);
  });

  it("a failover test brings the VPG up beside production, byte for byte", async () => {
    const test = await stage.operate("failover", "test", "start", vpg);
    const { problems, equal } = await stage.check(test);
    expect({ problems, exact: equal.length > 0 }).toEqual({ problems: [], exact: true });
    await expectGuestsDisks(test);
    const stop = [
      "failover",
      "test",
      "stop",
      vpg,
      test.operationId,
      "--success",
      "yes",
      "--notes",
      "ledger consistent",
    ];
    await stage.operate(...stop);
    const { status, states } = await readExecution(
      stage.ground,
      stage.output("FailoverTestMachine"),
      `${test.operationId}.1`,
    );
    expect(status).toBe("SUCCEEDED");
    expect(states).toContain("AwaitDecision");
    say(`failover test: RTO ${test.rtoMs} ms`);
  });

  it("a person's live failover is rolled back, and every checkpoint is still listed", async () => {
    const before = await stage.checkpoints();
    const live = await stage.operate("failover", "live", vpg, "--wait");
    expect(live).toMatchObject({ phase: "BeforeCommit", decision: null });
    expect((await stage.check(live)).equal).not.toEqual([]);
    const back = await stage.operate("--yes", "failover", "rollback", vpg);
    expect(back.phase).toBe("RolledBack");
    const after = new Set((await stage.checkpoints()).map(({ id }) => id));
    expect(before.filter(({ id }) => !after.has(id))).toEqual([]);
    const { status, states } = await execution("FailoverLiveMachine", live.operationId);
    expect(status).toBe("SUCCEEDED");
    expect(states).toEqual(
      expect.arrayContaining(["BeginOperation", "AwaitDecision", "StopVms", "DetachVolumes", "Done"]),
    );
    say(`rolled back: RTO ${live.rtoMs} ms`);
  });

  it("the protected side is lost, and an event starts the failover that is committed", async () => {
    const tagged = stage.written();
    await stage.farshore("checkpoint", "create", vpg, "--tag", "last-good");
    await until("checkpoints behind the tag", 60_000, async () =>
      (await stage.checkpoints()).findIndex(({ tags }) => tags.includes("last-good")) > 1 ? true : undefined,
    );
    await stage.loseParis();
    const lost = stage.written();
    // Silence alone starts nothing yet: the policy asks for an hour of it.
    await lookUntil("the silence is seen", async () => (await stage.show()).suspicion.silentSince !== null);
    await look();
    expect((await stage.show()).operationId).toBeNull();

    const events = new EventBridgeClient(clientSettings(stage.ground));
    const detail = JSON.stringify({ site: "paris", reason: "power is out" });
    const entry = { EventBusName: stage.output("Bus"), Source: "drill", DetailType: "farshore", Detail: detail };
    // It may come twice, and there are looks enough for both: one failover is started.
    const { FailedEntryCount } = await events.send(new PutEventsCommand({ Entries: [entry, entry] }));
    expect(FailedEntryCount).toBe(0);
    await lookUntil("the event starts a failover", async () => (await stage.show()).operationId !== null);
    const operationId = (await stage.show()).operationId ?? "";
    const live = await stage.operate("operation", "watch", operationId);
    const { equal, problems } = await stage.check(live);
    expect(problems).toEqual([]);
    const latest = equal.at(-1) ?? -1;
    expect(latest).toBeGreaterThanOrEqual(tagged.acknowledged);
    expect(latest).toBeLessThanOrEqual(lost.submitted);
    say(`recovered ${latest} of ${lost.acknowledged} acknowledged writes: RTO ${live.rtoMs} ms`);
    await expectGuestsDisks(live);

    const retarget = ["--yes", "failover", "retarget", vpg, "--checkpoint", "tag:last-good", "--wait"];
    const chosen = await stage.operate(...retarget);
    expect(chosen).toMatchObject({ operationId, phase: "BeforeCommit" });
    const earlier = await stage.check(chosen);
    expect(earlier.problems).toEqual([]);
    recovered = earlier.equal.at(-1) ?? -1;
    expect(recovered).toBeGreaterThanOrEqual(tagged.acknowledged);
    expect(recovered).toBeLessThanOrEqual(latest);
    await expectGuestsDisks(chosen);
    expect(await stage.keptScratch()).toContainEqual(expect.objectContaining({ operationId, number: 1 }));
    say(`retargeted: ${recovered} writes`);

    committed = await stage.operate("failover", "commit", vpg);
    expect(committed.phase).toBe("Completed");
    expect((await stage.check(chosen)).equal.at(-1)).toBe(recovered);
    await expectLostTail(operationId);
    const { status, states } = await execution("FailoverLiveMachine", operationId);
    expect(status).toBe("SUCCEEDED");
    expect(states).toEqual(
      expect.arrayContaining(["SwitchCheckpoint", "MintTerm", "SealSessions", "PromoteVolumes", "Done"]),
    );
    await look();
    const sfn = new SFNClient(clientSettings(stage.ground));
    const stateMachineArn = stage.output("FailoverLiveMachine");
    const { executions = [] } = await sfn.send(new ListExecutionsCommand({ stateMachineArn }));
    expect(executions.map(({ name, status: ended }) => [name, ended])).toEqual([
      [`${operationId}.1`, "SUCCEEDED"],
      [expect.any(String), "SUCCEEDED"],
    ]);
  });

  it("the old source comes back and is refused", async () => {
    const before = (await journal()).length;
    await stage.startSource();
    await until("the refusal", 60_000, async () =>
      stage.logOf("source-gateway").includes("Fenced") ? true : undefined,
    );
    expect((await journal()).length).toBe(before);
  });

  it("protection is reversed to the other site, by what differs", async () => {
    await stage.restoreParis();
    for (const [volume, offset] of damages) damage(stage.disks[volume] ?? "", offset);
    const images = guests.map(({ image }) => image);
    guests = await guestsOn(ofGuests(exportsOf(committed)), images, 11);
    await Promise.all(guests.map((guest) => guest.work(20)));
    stage.startWorkload("workload-berlin", atBerlin(), exportsOf(committed));
    await until("the application at berlin", 120_000, async () =>
      readWriteLog(atBerlin(), () => {}).acknowledged > 600 ? true : undefined,
    );
    // What differs stays what it is while it is told apart and shipped.
    stage.processes.signal("workload-berlin", "SIGSTOP");
    const promoted = stage.promoted(committed);
    const differing = stage.disks.reduce(
      (sum, path, index) => sum + differingBytes(readFileSync(path), readFileSync(promoted[index] ?? "")),
      0,
    );
    const reverse = await stage.operate("reverse-protection", "start", vpg, "--wait");
    expect(reverse).toMatchObject({ phase: "Completed" });
    const { shippedBytes } = await until(
      "the sync's figures",
      30_000,
      async () => (await stage.show("paris")).lastSync ?? undefined,
    );
    say(`reverse protection: ${formatBytes(differing)} differed, ${formatBytes(shippedBytes)} were shipped`);
    expect(shippedBytes).toBeGreaterThan(0);
    expect(shippedBytes).toBeLessThanOrEqual(1.5 * differing);
    expect({ berlin: (await stage.show()).role, paris: (await stage.show("paris")).role }).toEqual({
      berlin: "Runs",
      paris: "Journal",
    });
    const { status, states } = await execution("ReverseProtectionMachine", reverse.operationId);
    expect(status).toBe("SUCCEEDED");
    expect(states).toEqual(expect.arrayContaining(["OfferTerm", "StartTerm", "ProtectVolumes", "AwaitJournal"]));
  });

  it("what is written at berlin moves home, byte for byte", async () => {
    stage.processes.signal("workload-berlin", "SIGCONT");
    const before = readWriteLog(atBerlin(), () => {}).acknowledged;
    await Promise.all(guests.map((guest) => guest.work(40)));
    await until("writes and checkpoints of them", 120_000, async () => {
      const more = readWriteLog(atBerlin(), () => {}).acknowledged > before + 200;
      return more && (await stage.show("paris")).checkpoints > 5 ? true : undefined;
    });
    const start = ["move", "start", vpg, "--commit-policy", "commit", "--commit-after", "0", "--wait"];
    const move = operationViewSchema.parse(await farshore(start, await stage.operator("paris")));
    expect(move).toMatchObject({ phase: "Completed" });
    const written = readWriteLog(atBerlin(), () => {}).acknowledged;
    const { equal, problems } = await stage.check(move, `${stage.writesLog}:${recovered},${atBerlin()}`);
    expect(problems).toEqual([]);
    expect(equal.at(-1) ?? -1).toBeGreaterThanOrEqual(recovered + written);
    await expectGuestsDisks(move);
    expect((await stage.show("paris")).role).toBe("Runs");
    say(`moved home with ${written} writes of berlin: RTO ${move.rtoMs} ms`);
  });

  const expectGuestsDisks = async (operation: OperationView): Promise<void> => {
    const disks = ofGuests(await readDisks(operation, volumes));
    expect(disks.map((disk, index) => guests[index]?.isImage(disk))).toEqual(guests.map(() => true));
  };
  /** What the commit left behind is listed apart, and its newest checkpoint reads as the disk was. */
  async function expectLostTail(operationId: string): Promise<void> {
    const tail = await stage.checkpoints("--lost-tail", operationId);
    expect(tail.length).toBeGreaterThan(0);
    const history = new Set((await stage.checkpoints()).map(({ id }) => id));
    expect(tail.filter(({ id }) => history.has(id))).toEqual([]);
    const [first] = ofGuests(volumes);
    const output = join(stage.directory, "lost-tail.img");
    const of = ["--lost-tail", operationId, "--checkpoint", tail[0]?.id ?? "", "--volume", `${vm}/${first?.name}`];
    await stage.farshore("view", "write", vpg, ...of, "--output", output);
    expect(guests[0]?.isImage(readFileSync(output))).toBe(true);
  }

  const atBerlin = () => join(stage.directory, "writes-berlin.log");
  const execution = (machine: string, operationId: string) =>
    readExecution(stage.ground, stage.output(machine), `${operationId}.1`);
  const get = async (role: Parameters<DeployStage["as"]>[0], path: string, site?: SiteRole) =>
    signedGet(stage.output("SiteApiUrl", site), path, await stage.as(role));
  const s3 = (env?: Readonly<Record<string, string>>) =>
    new S3Client({ ...clientSettings(stage.ground, env), forcePathStyle: "AWS_ENDPOINT_URL" in stage.ground.env });
  const dynamo = () => new DynamoDBClient(clientSettings(stage.ground));
  const journal = async () =>
    (await s3().send(new ListObjectsV2Command({ Bucket: stage.output("Bucket"), Prefix: "journal/" }))).Contents ?? [];
  const batches = async () => (await journal()).filter(({ Key = "" }) => /^journal\/.*\/\d+$/.test(Key));
  const alerts = async () =>
    statusReplySchema
      .parse(JSON.parse((await get("operator", "/v1/status")).text))
      .alerts.map(({ alertId }) => alertId);

  /** What a schedule calls, now. */
  async function invoke(folder: string, payload: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const lambda = new LambdaClient(clientSettings(stage.ground));
    const { FunctionError, Payload: said } = await lambda.send(
      new InvokeCommand({ FunctionName: stage.functionName(folder), Payload: JSON.stringify(payload) }),
    );
    if (FunctionError !== undefined) throw new Error(`${folder} failed: ${Buffer.from(said ?? []).toString()}`);
  }

  /** A look of the site's monitor; its schedule makes one a minute. Looks count 2 to 10 s apart: a busy machine takes its time. */
  const look = (): Promise<void> => invoke("site-monitor", { everyMs: 4000 });

  /** What a whole round of the scrub found that begins now. */
  async function scrubbed(): Promise<unknown> {
    await stage.farshore("scrub", "start", vpg);
    return until("the scrub's round", 60_000, async () => {
      await invoke("scrub-journal");
      const { journal: found } = (await stage.show()).scrub ?? {};
      return found?.startedAt === null ? found : undefined;
    });
  }

  async function lookUntil(what: string, seen: () => Promise<boolean>): Promise<void> {
    await until(what, 90_000, async () => {
      await look();
      return (await seen()) ? true : undefined;
    });
  }
});
