import type { StreamState } from "#core/api/gateway-api.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { type ListedCheckpoint, listCheckpoints } from "#core/protection/checkpoints.ts";
import { volumesOf } from "#core/protection/definition.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { hasEnded } from "#core/recovery/operation-store.ts";
import { stepNames, stepOk } from "#core/recovery/steps.ts";
import { View } from "#core/recovery/view.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import { hasOldTable, rebuild } from "./actors/tables.ts";
import { protectAnew } from "./actors/vpgs.ts";
import { endForgotten } from "./forgotten.ts";
import type { Invariants } from "./invariants/invariants.ts";
import { unneededObjects } from "./invariants/unneeded.ts";
import { housekeepingMs, leapsMs, recoveryMs } from "./limits.ts";
import { fairWeather } from "./link.ts";
import type { Protection, SiteOperation } from "./protection.ts";
import type { SimSite } from "./sim-site.ts";
import { Violation } from "./violation.ts";
import type { World } from "./world.ts";

const everyMs = 5000;
const patienceMs = 100_000;
const longestWaitMs = 31 * 60_000;

/**
 * Liveness: nothing goes wrong any more, people do what messages and the runbook ask of them, and within a while every operation has
 * ended, every VPG is protected, and its newest checkpoint is what the disks hold.
 */
export async function recover(world: World, invariants: Invariants): Promise<void> {
  for (const site of world.sites) {
    site.plan.heal();
    site.clock.skew(0);
  }
  for (const link of world.links) {
    link.cut = false;
    link.weather = fairWeather;
  }
  for (const { gateways, machines } of world.protections) {
    for (const { clock } of gateways) clock.skew(0);
    for (const { disks } of machines) for (const disk of disks) Object.assign(disk, { slow: 0, fails: 0 });
  }
  const since = world.clock.now();
  let left: string[] = ["nothing was looked at"];
  for (let waitedMs = 0; left.length > 0; waitedMs += everyMs) {
    if (waitedMs > recoveryMs) throw new Violation("liveness", left.join("; "));
    // What asks a peer that didn't answer waits longer and longer, up to half an hour: nobody looks on meanwhile.
    if (waitedMs > 0 && waitedMs % patienceMs === 0) world.clock.leap(longestWaitMs);
    for (const site of world.sites) {
      if (hasOldTable(site)) await rebuild(world, site);
      else await site.start();
    }
    left = [];
    for (const protection of world.protections) {
      for (const gateway of protection.gateways) await gateway.start();
      const problem = await help(world, protection, since);
      if (problem !== undefined) left.push(`${protection.name} ${problem}`);
    }
    await world.clock.advance(everyMs);
    await invariants.check();
  }
  await invariants.check(true);
  await letRetentionEnd(world, invariants);
}

/**
 * Nobody writes any more, and housekeeping has all the time that it wants: what nothing needs is gone an hour later, and nothing else.
 */
async function letRetentionEnd(world: World, invariants: Invariants): Promise<void> {
  const pass = async (ms: number): Promise<void> => {
    world.clock.leap(ms);
    await world.clock.advance(housekeepingMs);
  };
  for (const ms of leapsMs.slice(-2).reverse()) await pass(ms);
  const before = await Promise.all(world.protections.map(unneededObjects));
  await pass(retentionLimits.replacedKeptMs + retentionLimits.collectEveryMs);
  for (const [index, protection] of world.protections.entries()) {
    const after = new Set(await unneededObjects(protection));
    const [left] = before[index]?.filter((key) => after.has(key)) ?? [];
    if (left !== undefined) throw new Violation("deleted in time", `nothing of ${protection.name} needs ${left}`);
  }
  await invariants.check(true);
}

/** What a person does for a VPG now; answers what is not well yet. */
async function help(world: World, protection: Protection, since: number): Promise<string | undefined> {
  const { people } = world;
  const { vpgId } = protection;
  const operations = await protection.operations();
  const open = operations.filter(({ operation }) => !hasEnded(operation));
  for (const each of open) {
    const { phase } = each.operation;
    // What waits for a gateway that is gone is taken back.
    const isInVain = phase === "Offering" && protection.gatewayAt(protection.other(each.site)).lost;
    const rollback = phase === "BeforeCommit" || phase === "RetargetFailed" || isInVain;
    if (rollback) world.background("decide", people.decide(each, { decision: "rollback" }));
    if (phase === "TestRunning") {
      world.background("decide", people.decide(each, { decision: "stop", success: true, notes: "" }));
    }
  }
  if (open.length > 0) return `has operations open: ${open.map(textOf).join(", ")}`;
  const forgotten = await endForgotten(world, protection);
  if (forgotten !== undefined) return `is held by forgotten operations: ${forgotten}`;
  // What a table that was restored knows nothing of is stopped by hand.
  for (const { operationId, folder } of protection.folders()) {
    const found = operations.find(({ operation }) => operation.operationId === operationId);
    if (found?.operation.phase !== "Completed") folder.machine?.vms.running.clear();
  }
  const { site, vpg } = await protection.seat();
  if (vpg === undefined || vpg.deleted) {
    // Whoever deleted it was going to, and if its first disks are gone for good there is nothing to protect.
    if (protection.source.lost) return undefined;
    await protectAnew(world, protection);
    return "is not known to its site";
  }
  if (vpg.role === "Runs") {
    const half = operations.find(({ operation }) => isHalfCommitted(operation));
    if (half !== undefined) {
      world.background("retry", people.retry(half));
      return `was committed by ${textOf(half)}, which is not through`;
    }
    const options = { gatewayLost: protection.gatewayAt(protection.other(site)).lost, force: false };
    world.background("reverse", people.start(protection, { kind: "reverse-protection", options }));
    return "was failed over";
  }
  if (vpg.paused) {
    world.background("resume", people.ask(site, "POST", `/vpgs/${vpgId}/resume`, {}));
    return "is paused";
  }
  if (vpg.definition.retention?.journalLimit !== undefined) {
    world.background("limit", people.limit(protection, site, undefined));
    return "has a journal limit";
  }
  if (vpg.term === 1 && !isAsConfigured(protection, vpg)) {
    world.background("edit", people.edit(protection));
    return "has other volumes than its configuration";
  }
  const gateway = protection.gatewayTo(site);
  const again = async (): Promise<void> => {
    gateway.kill();
    await gateway.start();
  };
  const status = gateway.status(vpgId);
  if (status?.problem?.name === "DuplicateGateway") {
    await people.newToken(gateway.remote, gateway.name);
    await again();
  }
  if (status?.stream?.mode === "closed" && protection.forgotten.size > 0) {
    // The table that was made anew knows nothing of the move that closed it.
    gateway.kill();
    gateway.openByHand(protection.name);
    await gateway.start();
  }
  // A closed one is opened by the operation that closed it, once it is heard of.
  const stream = status?.stream;
  if (status?.exports === "read-only" && stream?.mode !== "closed" && stream?.mode !== "replicating") await again();
  if (stream?.mode !== "replicating" || !stream.idle) {
    return `replicates not: ${stream?.mode}, ${status?.problem?.name ?? "no problem"}, exports ${status?.exports}`;
  }
  if (gateway.machines.some(({ rotten }) => rotten.length > 0) && !isScrubbed(world, stream.scrub, since)) {
    if (stream.scrub?.running !== true) world.background("scrub", people.ask(site, "POST", `/vpgs/${vpgId}/scrub`, {}));
    return "is not scrubbed yet";
  }
  const { checkpoints } = await listCheckpoints(site.seen(), vpgId, { limit: 1 });
  const [newest] = checkpoints;
  if (newest === undefined || newest.validThrough < since) return "has no checkpoint of now";
  await checkEqual(protection, site, newest);
  return undefined;
}

/** A round that began since has come to its end, and what it found to differ was sent again. */
function isScrubbed({ clock }: World, scrub: StreamState["scrub"], since: number): boolean {
  if (scrub === undefined || scrub.ageMs === null || scrub.differing > scrub.mended) return false;
  return clock.now() - scrub.ageMs >= since;
}

function isAsConfigured({ configured }: Protection, { definition }: VpgRecord): boolean {
  const named = configured.map(({ name, sizeBytes }) => `${name} ${sizeBytes}`);
  return (
    volumesOf(definition)
      .map(({ name, sizeBytes }) => `${name} ${sizeBytes}`)
      .join() === named.join()
  );
}

/** Nobody writes any more, so the newest checkpoint is what the disks hold, byte for byte. */
async function checkEqual(protection: Protection, site: SimSite, { position, term }: ListedCheckpoint): Promise<void> {
  const { vpgId, name } = protection;
  const journal = await BucketJournal.open(site.objects, vpgId);
  const reader = new JournalReader(journal);
  const machine = protection.machineOf(vpgId, term);
  for (const [volume, { sizeBytes }] of journal.volumesAt(position)) {
    const volumeName = protection.nameOf(vpgId, volume);
    const disk = machine?.disks.find((each) => each.name === volumeName);
    const found = Buffer.alloc(sizeBytes);
    await new View({ reader, volume, sizeBytes, upTo: position }).read(0, found);
    if (disk === undefined || !found.equals(disk.image))
      throw new Violation("exact", `volume ${volumeName} of ${name} is not as its disk, which is idle`);
  }
}

/** With the steps that haven't ended, which is what it waits for. */
/** Its term was minted and its disks are not filled, so that protection can't be reversed. */
const isHalfCommitted = (operation: SiteOperation["operation"]): boolean =>
  stepOk(operation, stepNames.mintTerm) && !stepOk(operation, stepNames.promoteVolumes);

function textOf({ site, operation: { operationId, kind, phase, steps } }: SiteOperation): string {
  const waits = Object.entries(steps).filter(([, { endedAt }]) => endedAt === null);
  return `${kind} ${operationId} at ${site.name} in ${phase}, with ${waits.map(([name]) => name).join(" and ") || "no step"}`;
}
