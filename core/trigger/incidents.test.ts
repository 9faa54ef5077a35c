import { beforeEach, describe, expect, it } from "vitest";
import { getVpg, pauseVpg } from "#core/protection/vpg-store.ts";
import { endOperation } from "#core/recovery/end-operation.ts";
import { getOperation } from "#core/recovery/operation-store.ts";
import { reconcile } from "#core/recovery/reconcile.ts";
import { readReport } from "#core/recovery/report.ts";
import { siteStatus } from "#core/recovery/site-status.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Site } from "#core/site.ts";
import { siteOf } from "../../test/kit/failover-site.ts";
import { jittery, Life, mortal } from "../../test/kit/mortal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { noWorkflows, operator } from "../../test/kit/site.ts";
import { approver, everyMs, TriggerSite } from "../../test/kit/trigger-site.ts";
import { answerApproval } from "./approval.ts";
import type { Incident } from "./incident.ts";
import { monitor } from "./monitor.ts";
import { receiveEvent } from "./receive-event.ts";
import { startIncident } from "./start-incident.ts";
import { supervise } from "./supervise.ts";

/** Silence of 10 s over at least three looks, and some to spare. */
const looksToUnreachable = 5;
const quick = { minimumDurationMs: 10_000, coolDownMs: 60_000, approvalExpiryMs: 600_000 };

async function only(world: TriggerSite): Promise<Incident> {
  const [incident, ...more] = await world.incidents();
  expect(more).toEqual([]);
  if (incident === undefined) throw new Error("no incident");
  return incident;
}

let events = 0;
function smoke(world: TriggerSite, over: object = {}): object {
  events += 1;
  const time = new Date(world.clock.now()).toISOString();
  return {
    id: `e${events}`,
    source: "oncall",
    "detail-type": "x",
    time,
    detail: { vpg: "shop", reason: "smoke" },
    ...over,
  };
}

describe("automatic", () => {
  let world: TriggerSite;
  beforeEach(async () => {
    world = await TriggerSite.make({ policy: "automatic", ...quick });
    await world.look("heard");
  });

  it("starts the failover that a person would start, and its report names the incident and what was seen", async () => {
    await world.look("silent", 4 + looksToUnreachable);
    const incident = await only(world);
    expect(incident).toMatchObject({ state: "started", vpgName: "shop", term: 1 });
    expect(await world.operations()).toEqual([incident.incidentId]);
    expect(world.started).toEqual([`${incident.incidentId}.1`]);
    const operation = await getOperation(world.site, incident.incidentId);
    expect(operation).toMatchObject({ kind: "failover-live", initiatedBy: `trigger:${incident.incidentId}` });
    await endOperation(world.site, incident.incidentId);
    const report = await readReport(world.site, operation.vpgId, incident.incidentId);
    expect(report.incident?.incidentId).toBe(incident.incidentId);
    expect(report.incident?.evidence.join("\n")).toMatch(/gateway gw-berlin was last heard/);
  });

  it("starts nothing more in the same outage, and a new outage is a new incident", async () => {
    await world.look("silent", 4 + looksToUnreachable);
    await endOperation(world.site, (await only(world)).incidentId);
    await world.look("silent", 40);
    expect(await only(world)).toMatchObject({ state: "closed", outcome: "failed" });
    await world.look("heard");
    await world.look("silent", 4 + looksToUnreachable);
    expect(await world.operations()).toHaveLength(2);
  });

  it("waits while the recovery gateway is silent: it may be this site that is cut off", async () => {
    for (let count = 0; count < 20; count += 1) {
      await world.pass(everyMs);
      await monitor(world.site, everyMs);
    }
    expect(await only(world)).toMatchObject({ state: "ready", waitsFor: expect.stringContaining("gw-recovery") });
    expect((await siteStatus(world.site)).alerts).toMatchObject([{ alertId: "failover-waits:shop" }]);
    await world.look("silent");
    expect(await only(world)).toMatchObject({ state: "started" });
  });

  it("closes what waits when the source is heard, and starts nothing", async () => {
    for (let count = 0; count < 20; count += 1) {
      await world.pass(everyMs);
      await monitor(world.site, everyMs);
    }
    await world.look("heard");
    expect(await only(world)).toMatchObject({ state: "closed", outcome: "recovered" });
    expect(await world.operations()).toEqual([]);
  });

  it("starts nothing when the source is heard after the look that found it silent", async () => {
    await world.look("silent", looksToUnreachable);
    await world.pass(everyMs);
    await world.beat("recovery");
    const supervised = await supervise(world.site, world.shop.vpg.vpgId, everyMs);
    expect(supervised?.incident).toMatchObject({ state: "ready" });
    await world.beat("source");
    if (supervised !== undefined) await startIncident(world.site, supervised);
    expect(await world.operations()).toEqual([]);
    await world.look("heard");
    expect(await only(world)).toMatchObject({ outcome: "recovered" });
  });

  it("sees a heartbeat that came and went between two looks a minute apart", async () => {
    const minute = 60_000;
    const slow = await TriggerSite.make({ policy: "notify", ...quick });
    const lookAfter = async (ms: number): Promise<void> => {
      await slow.pass(ms);
      await monitor(slow.site, minute);
    };
    for (let count = 0; count < 3; count += 1) await lookAfter(minute);
    expect(await only(slow)).toMatchObject({ state: "open" });
    await slow.pass(minute / 2);
    await slow.beat("source");
    await lookAfter(minute / 2);
    expect(await only(slow)).toMatchObject({ state: "closed", outcome: "recovered" });
  });

  it("opens no incident before the cool-down is over", async () => {
    const told = await TriggerSite.make({ policy: "notify", ...quick, coolDownMs: 600_000 });
    await told.look("silent", 4 + looksToUnreachable);
    await told.look("heard");
    await told.look("silent", 60);
    expect(await told.incidents()).toHaveLength(1);
    await told.look("silent", 60);
    expect(await told.incidents()).toHaveLength(2);
  });

  it("cools down no longer than it should after the clock was a day ahead", async () => {
    const told = await TriggerSite.make({ policy: "notify", ...quick });
    await told.look("silent", 4 + looksToUnreachable);
    told.clock.offsetMs = 86_400_000;
    await told.look("heard");
    expect(await only(told)).toMatchObject({ state: "closed", outcome: "recovered" });
    told.clock.offsetMs = 0;
    await told.look("heard");
    await told.look("silent", 4 + looksToUnreachable);
    expect(await told.incidents()).toHaveLength(1);
    await told.look("silent", 12);
    expect(await told.incidents()).toHaveLength(2);
  });

  it("believes no silence that it didn't watch: the site itself was away", async () => {
    await world.look("silent", 3);
    await world.pass(3_600_000);
    await world.look("silent", 2);
    expect(await world.incidents()).toEqual([]);
  });

  it("leaves a VPG alone that was paused, and one whose failover a person started", async () => {
    await pauseVpg(world.site, operator, world.shop.vpg.vpgId);
    await world.look("silent", 30);
    expect(await world.incidents()).toEqual([]);

    const other = await TriggerSite.make({ policy: "automatic", ...quick });
    const options = {
      checkpoint: { kind: "latest" },
      shutdown: { policy: "none", graceMs: 0 },
      commitPolicy: { action: "none" },
    } as const;
    const requestId = other.shop.vpg.vpgId;
    await startOperation(other.site, operator, other.shop.vpg, { kind: "failover-live", options, requestId });
    await other.look("silent", 30);
    expect(await other.incidents()).toEqual([]);
    expect(await other.operations()).toEqual([requestId]);
  });

  it("says why a failover was refused, and does not try it again and again", async () => {
    const tagged = await TriggerSite.make({
      policy: "automatic",
      checkpoint: { kind: "tag", tag: "nowhere" },
      ...quick,
    });
    await tagged.look("silent", 30);
    expect(await only(tagged)).toMatchObject({ state: "closed", outcome: "refused" });
    expect(tagged.notices.at(-1)?.text).toMatch(/NoCheckpoint/);
  });

  it("needs no rest of the minimum duration when a named source says the same", async () => {
    const hour = 3_600_000;
    const confirmed = await TriggerSite.make({ policy: "automatic", minimumDurationMs: hour, confirmBy: ["oncall"] });
    await confirmed.look("silent", 8);
    expect(await confirmed.incidents()).toEqual([]);
    await receiveEvent(confirmed.site, smoke(confirmed, { source: "someone" }));
    await confirmed.look("silent");
    expect(await confirmed.incidents()).toEqual([]);
    await receiveEvent(confirmed.site, smoke(confirmed));
    await confirmed.look("silent");
    expect(await only(confirmed)).toMatchObject({ state: "started" });
  });

  it("takes no event for silence", async () => {
    const heard = await TriggerSite.make({ policy: "automatic", confirmBy: ["oncall"], ...quick });
    await receiveEvent(heard.site, smoke(heard));
    await heard.look("heard", 30);
    expect(await heard.incidents()).toEqual([]);
    expect((await siteStatus(heard.site)).alerts).toMatchObject([{ alertId: "source-suspected:shop" }]);
  });
});

describe.each(["off", "notify"] as const)("%s", (policy) => {
  it("starts nothing, whatever is seen and said", async () => {
    const world = await TriggerSite.make({ policy, confirmBy: ["oncall"], ...quick });
    for (let count = 0; count < 10; count += 1) {
      await receiveEvent(world.site, smoke(world));
      await world.look("silent", 5);
    }
    expect(await world.operations()).toEqual([]);
    expect(await world.incidents()).toHaveLength(policy === "off" ? 0 : 1);
    expect(world.notices.map(({ kind }) => kind)).toEqual(policy === "off" ? [] : ["unreachable"]);
  });
});

describe("approve", () => {
  let world: TriggerSite;
  beforeEach(async () => {
    world = await TriggerSite.make({ policy: "approve", ...quick });
    await world.look("silent", 4 + looksToUnreachable);
  });
  const answer = async (decision: "approved" | "rejected", notes = ""): Promise<Incident> =>
    answerApproval(world.site, approver, (await only(world)).incidentId, { decision, notes });

  it("asks, waits, and starts once when it is approved twice", async () => {
    await world.look("silent", 3);
    expect(world.notices.map(({ kind }) => kind)).toEqual(["unreachable", "approval-waits"]);
    expect((await siteStatus(world.site)).alerts).toMatchObject([{ alertId: "approval-waits:shop" }]);
    expect(await world.operations()).toEqual([]);
    await answer("approved", "the rack burns");
    await answer("approved");
    await world.look("silent", 3);
    const { incidentId, approval } = await only(world);
    expect(approval).toMatchObject({ by: "approver:ada", notes: "the rack burns" });
    expect(await world.operations()).toEqual([incidentId]);
    const { incident } = await getOperation(world.site, incidentId);
    expect(incident?.evidence.at(-1)).toBe("approved by approver:ada: the rack burns");
    expect(incident?.approval).toMatchObject({ by: "approver:ada", notes: "the rack burns" });
    await expect(answer("rejected")).rejects.toMatchObject({ name: "AlreadyDecided" });
  });

  it("is refused once the source was heard, also before the next look", async () => {
    await world.beat("source");
    await expect(answer("approved")).rejects.toMatchObject({ name: "SourceRecovered" });
    await world.look("heard");
    await expect(answer("approved")).rejects.toMatchObject({ name: "SourceRecovered" });
    expect(await world.operations()).toEqual([]);
  });

  it("starts nothing when the source comes back between the approval and the start", async () => {
    await answer("approved");
    await world.look("heard");
    expect(await only(world)).toMatchObject({ outcome: "recovered" });
    expect(await world.operations()).toEqual([]);
  });

  it("ends by name when nobody answers", async () => {
    await world.look("silent", 121);
    await expect(answer("approved")).rejects.toMatchObject({ name: "ApprovalExpired" });
    expect(await only(world)).toMatchObject({ state: "closed", outcome: "expired" });
    await world.look("silent", 30);
    expect(await world.operations()).toEqual([]);
    expect(world.notices.at(-1)?.text).toMatch(/nobody approved/);
  });

  it("closes when it is rejected, and asks again only in another outage", async () => {
    await answer("rejected");
    await world.look("silent", 40);
    expect(await only(world)).toMatchObject({ outcome: "rejected" });
    await world.look("heard");
    await world.look("silent", 4 + looksToUnreachable);
    expect(await world.incidents()).toHaveLength(2);
    expect(await world.operations()).toEqual([]);
  });

  it("has nothing to approve in an incident that asks for nothing", async () => {
    const told = await TriggerSite.make({ policy: "notify", ...quick });
    await told.look("silent", 4 + looksToUnreachable);
    const { incidentId } = await only(told);
    const asked = answerApproval(told.site, approver, incidentId, { decision: "approved", notes: "" });
    await expect(asked).rejects.toMatchObject({ name: "InvalidInput" });
  });
});

/** A process of the site, over what is durable; `life` ends with its `deaths`th call of the table or the bucket. */
function processOf(world: TriggerSite, life: Life, deaths: number): Site {
  let left = deaths;
  const onCall = (): void => {
    left -= 1;
    if (left === 0) life.kill();
  };
  const { objects, table } = world.shop;
  const durable = { objects: mortal(objects, life, onCall), table: mortal(table, life, onCall), clock: world.clock };
  return { ...siteOf(durable), workflows: mortal(world.site.workflows, life), random: new SeededRandom(deaths) };
}

describe("killed after any call of the table or the bucket", () => {
  it.each(["automatic", "approve"] as const)("%s: one operation, one execution, every notice told", async (policy) => {
    for (let deaths = 1; ; deaths += 1) {
      const world = await TriggerSite.make({ policy, ...quick });
      await world.look("heard");
      await world.look("silent", 3);
      let killed = false;
      for (let count = 0; count < 6; count += 1) {
        await world.pass(everyMs);
        await world.beat("recovery");
        const life = new Life();
        const site = processOf(world, life, killed ? Number.POSITIVE_INFINITY : deaths);
        const act = async (): Promise<void> => {
          await monitor(site, everyMs);
          const [incident] = await world.incidents();
          if (incident?.state !== "awaiting-approval") return;
          await answerApproval(site, approver, incident.incidentId, { decision: "approved", notes: "" });
          await monitor(site, everyMs);
        };
        if ((await life.race(act().then(() => "through"))) === "killed") killed = true;
      }
      // The next life of the site: its reconciler begins the execution that a killed one left out.
      await world.look("silent", 3);
      await reconcile({ ...world.site, workflows: { ...noWorkflows, start: world.site.workflows.start } });
      const operations = await world.operations();
      expect({ deaths, operations: operations.length }).toEqual({ deaths, operations: 1 });
      expect(new Set(world.started).size).toBe(1);
      expect((await world.site.table.query("notice")).items).toEqual([]);
      if (!killed) return;
      expect(deaths).toBeLessThan(400);
    }
  });
});

describe("twenty at once", () => {
  it("are one suspicion, one incident and one failover", async () => {
    const world = await TriggerSite.make({ policy: "approve", ...quick });
    const crowd = Array.from({ length: 20 }, (_, seed) => ({
      ...world.site,
      table: jittery(world.site.table, new SeededRandom(seed + 1)),
      random: new SeededRandom(seed + 100),
    }));
    const all = (act: (site: Site) => Promise<unknown>) => Promise.all(crowd.map(act));
    const event = smoke(world);
    for (let count = 0; count < 4 + looksToUnreachable; count += 1) {
      await world.pass(everyMs);
      await world.beat("recovery");
      await all((site) => receiveEvent(site, event));
      await all((site) => monitor(site, everyMs));
    }
    const { incidentId, evidence } = await only(world);
    expect(evidence.filter((line) => line.includes("smoke"))).toHaveLength(1);
    await all((site) => answerApproval(site, approver, incidentId, { decision: "approved", notes: "" }));
    await world.pass(everyMs);
    await world.beat("recovery");
    await all((site) => monitor(site, everyMs));
    expect(await world.operations()).toEqual([incidentId]);
    expect((await getVpg(world.site, "shop")).operationId).toBe(incidentId);
  });
});
