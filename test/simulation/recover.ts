import { BucketJournal } from "#core/journal/bucket-journal.ts";
import type { Position } from "#core/journal/position.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { hasEnded } from "#core/recovery/operation-store.ts";
import { View } from "#core/recovery/view.ts";
import { hasOldTable, rebuild } from "./actors/tables.ts";
import { protectAnew } from "./actors/vpgs.ts";
import type { Invariants } from "./invariants/invariants.ts";
import { recoveryMs } from "./limits.ts";
import { fairWeather } from "./link.ts";
import type { Protection } from "./protection.ts";
import { Violation } from "./violation.ts";
import type { World } from "./world.ts";

const everyMs = 5000;

/**
 * Liveness: nothing goes wrong any more, people do what messages and the runbook ask of them, and within a while every operation has
 * ended, every VPG is protected, and its newest checkpoint is what the disks hold.
 */
export async function recover(world: World, invariants: Invariants): Promise<void> {
  for (const site of world.sites) {
    site.plan.heal();
    site.clock.skew(0);
  }
  for (const { source, recovery, disks } of world.protections) {
    for (const { link, clock } of [source, recovery]) {
      link.cut = false;
      link.weather = fairWeather;
      clock.skew(0);
    }
    for (const disk of disks) Object.assign(disk, { slow: 0, fails: 0 });
  }
  const since = world.clock.now();
  let left: string[] = ["nothing was looked at"];
  while (left.length > 0) {
    if (world.clock.now() - since > recoveryMs) throw new Violation("liveness", left.join("; "));
    for (const site of world.sites) {
      if (hasOldTable(site)) await rebuild(world, site);
      else await site.start();
    }
    left = [];
    for (const protection of world.protections) {
      for (const gateway of [protection.source, protection.recovery]) await gateway.start();
      const problem = await help(world, protection, since);
      if (problem !== undefined) left.push(`${protection.name} ${problem}`);
    }
    await world.clock.advance(everyMs);
    await invariants.check();
  }
  await invariants.check(true);
}

/** What a person does for a VPG now; answers what is not well yet. */
async function help(world: World, protection: Protection, since: number): Promise<string | undefined> {
  const { people } = world;
  const { site, source, recovered } = protection;
  const operations = await protection.operations();
  const open = operations.filter((operation) => !hasEnded(operation));
  for (const operation of open) {
    if (operation.phase === "BeforeCommit")
      world.background("decide", people.decide(protection, operation, "rollback"));
    if (operation.phase === "TestRunning") world.background("decide", people.decide(protection, operation, "stop"));
  }
  if (open.length > 0) return `has operations open: ${open.map(({ phase }) => phase).join(", ")}`;
  // What a lost table has forgotten of is stopped by hand.
  for (const operationId of recovered.running.keys()) {
    const operation = operations.find((each) => each.operationId === operationId);
    if (operation?.phase !== "Completed") recovered.running.delete(operationId);
  }
  const vpg = await protection.vpg();
  if (vpg === undefined) return "is not known to its site";
  if (vpg.role === "Runs") {
    world.background("protect anew", protectAnew(world, protection));
    return "was failed over";
  }
  if (vpg.paused) {
    world.background("resume", people.ask(site, "POST", `/vpgs/${protection.vpgId}/resume`, {}));
    return "is paused";
  }
  const status = source.status();
  if (status?.problem?.name === "DuplicateGateway") {
    await people.newToken(site, source);
    source.kill();
    await source.start();
  }
  if (status?.stream?.mode === "closed" && protection.forgotten.size > 0) {
    // The table that was made anew knows nothing of the move that closed it.
    source.kill();
    source.openByHand();
    await source.start();
  }
  // A closed one is opened by the operation that closed it, once it is heard of.
  if (status?.exports === "read-only" && status.stream?.mode !== "closed") {
    source.kill();
    await source.start();
  }
  const stream = status?.stream;
  if (stream?.mode !== "replicating" || !stream.idle) {
    return `replicates not: ${stream?.mode}, ${status?.problem?.name ?? "no problem"}, exports ${status?.exports}`;
  }
  const { checkpoints } = await listCheckpoints(site.seen(), protection.vpgId, { limit: 1 });
  const [newest] = checkpoints;
  if (newest === undefined || newest.validThrough < since) return "has no checkpoint of now";
  await checkEqual(protection, newest.position);
  return undefined;
}

/** Nobody writes any more, so the newest checkpoint is what the disks hold, byte for byte. */
async function checkEqual({ site, vpgId, disks, name }: Protection, upTo: Position): Promise<void> {
  const reader = new JournalReader(await BucketJournal.open(site.objects, vpgId));
  for (const { volume, sizeBytes, image } of disks) {
    const found = Buffer.alloc(sizeBytes);
    await new View({ reader, volume, sizeBytes, upTo }).read(0, found);
    if (!found.equals(image))
      throw new Violation("exact", `volume ${volume} of ${name} is not as its disk, which is idle`);
  }
}
