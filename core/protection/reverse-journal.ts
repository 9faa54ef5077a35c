import type { StreamState } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import type { Site } from "#core/site.ts";
import { formatBytes } from "#core/units.ts";
import { listedTerm } from "./authority.ts";
import { type CommandBody, seedResultSchema } from "./command.ts";
import { type CommandRecord, findCommand, issueCommand } from "./commands.ts";
import { volumesOf } from "./definition.ts";
import { findGateway, streamOf } from "./gateway-store.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import type { OfferReply } from "./offer.ts";
import type { SyncedBytes } from "./operation.ts";
import type { Answer } from "./reverse.ts";
import { readClaim } from "./session-store.ts";
import { tryAgain } from "./try-again.ts";
import { fieldsOf, lastSessionOf, type VpgRecord } from "./vpg-record.ts";
import { findVpg, updateVpg } from "./vpg-store.ts";

type Reverse = NonNullable<VpgRecord["reverse"]>;

/**
 * What a site that took an offer has to do, as far as that can be done now: close its gateways (P3), bring their old disks into the
 * journal, become the keyholder at the first checkpoint (P5). Called by each message of the peer, by heartbeats and by the
 * reconciler, so that it goes on without the peer; safe to repeat at any time.
 */
export async function advanceReverse(site: Site, vpg: VpgRecord): Promise<VpgRecord> {
  const { reverse } = vpg;
  if (reverse === undefined || vpg.deleted) return vpg;
  if (!reverse.closed) return close(site, vpg, reverse);
  if (!reverse.begun) return vpg;
  if ((await listedTerm(site, vpg)) === vpg.term) return becomeJournal(site, vpg);
  await seed(site, vpg, reverse);
  return vpg;
}

async function close(site: Site, vpg: VpgRecord, reverse: Reverse): Promise<VpgRecord> {
  const { vpgId, definition } = vpg;
  const { n, operationId } = reverse;
  const asked = await askAll(site, reverse, {
    ...{ kind: "close-volumes", operationId, vpgId, vpgName: definition.name, term: n, final: false },
  });
  if (!asked.every(({ state }) => state === "done")) return again(site, vpg, asked);
  const closed = await change(site, vpg, (now) => ({ ...now, closed: true, attempt: 1 }), "Preparing");
  site.log.info("reverse-gateways-closed", { vpgId, term: n });
  return closed;
}

/** The old disks are a help and no need: what fails so often is left out, and the sync sends what they would have saved. */
async function seed(site: Site, vpg: VpgRecord, reverse: Reverse): Promise<void> {
  if (reverse.gateways.length === 0 || (await isCaptured(site, vpg))) return;
  const asked = await askAll(site, reverse, seedBody(vpg, reverse));
  if (reverse.attempt < limits.seedAttemptsMax) await again(site, vpg, asked);
}

function seedBody({ vpgId, definition }: VpgRecord, { n, operationId }: Reverse): CommandBody {
  const volumes = volumesOf(definition).map(({ volume, vmName, name, sizeBytes, sectorBytes }) => ({
    ...{ volume, vmName, name, sizeBytes, sectorBytes },
  }));
  return { kind: "seed-volumes", operationId, vpgId, vpgName: definition.name, term: n, volumes };
}

/** The running disks are captured in this term already: nothing older may come in behind them. */
export async function isCaptured(site: Site, vpg: VpgRecord): Promise<boolean> {
  const session = lastSessionOf(vpg, vpg.definition.sourceGatewayId);
  const claim = session === 0 ? undefined : await readClaim(site, vpg.vpgId, session);
  return claim?.term === vpg.term;
}

const commandIdOf = ({ operationId, n, attempt }: Reverse, kind: CommandBody["kind"], gatewayId: Id): string =>
  `${operationId}.${n}.${attempt}.${kind}.${gatewayId}`;

async function askAll(site: Site, reverse: Reverse, body: CommandBody): Promise<readonly CommandRecord[]> {
  const asked: CommandRecord[] = [];
  for (const gatewayId of reverse.gateways) {
    asked.push(await issueCommand(site, gatewayId, { commandId: commandIdOf(reverse, body.kind, gatewayId), body }));
  }
  return asked;
}

/** Those that failed or said nothing are asked again under another id, after a while. */
async function again(site: Site, vpg: VpgRecord, asked: readonly CommandRecord[]): Promise<VpgRecord> {
  const waiting = asked.some(({ state }) => state === "pending" || state === "running");
  const lost = asked.filter(({ state }) => state === "failed" || state === "expired");
  const [first] = lost;
  if (waiting || first === undefined) return vpg;
  const ended = Math.max(...lost.map(({ endedAt, command }) => endedAt ?? command.expiresAt));
  const sinceMs = site.clock.now() - ended;
  // A clock that was set back must not make anybody wait longer than that.
  if (sinceMs >= 0 && sinceMs < limits.reverseAgainMs) return vpg;
  return change(site, vpg, (now) => ({ ...now, attempt: now.attempt + 1 }), vpg.role);
}

/** Changes the record's own part if it is still of the same offer. */
function change(
  site: Site,
  vpg: VpgRecord,
  next: (reverse: Reverse) => Reverse,
  role: VpgRecord["role"],
): Promise<VpgRecord> {
  return tryAgain(`VPG ${vpg.vpgId}`, async () => {
    const record = (await findVpg(site, vpg.vpgId)) ?? vpg;
    const { reverse } = record;
    if (reverse?.n !== vpg.reverse?.n || reverse === undefined) return record;
    if (JSON.stringify(reverse) !== JSON.stringify(vpg.reverse)) return record;
    return updateVpg(site, record, { reverse: next(reverse), role });
  });
}

/** P5. From here on this site is the only one that may mint the next term. */
async function becomeJournal(site: Site, vpg: VpgRecord): Promise<VpgRecord> {
  const { vpgId, term } = vpg;
  const journal = await tryAgain(`VPG ${vpgId}`, async () => {
    const record = (await findVpg(site, vpgId)) ?? vpg;
    if (record.role !== "Preparing" || record.term !== term || record.reverse?.begun !== true) return record;
    const { reverse: _, ...rest } = record;
    const next = { ...rest, role: "Journal" as const };
    const put: TableAction = { put: items.vpg(vpgId), fields: fieldsOf(next), if: { rev: record.rev } };
    await site.table.transact([put]);
    return { ...next, rev: record.rev + 1 };
  });
  if (journal.role === "Journal") site.log.info("reverse-journal", { vpgId, term });
  return journal;
}

/** What the peer is told, with what this site waits for. */
export async function offerReply(
  site: Site,
  vpg: VpgRecord | undefined,
  n: number,
  { state, refusal }: Answer,
  detail = "",
): Promise<OfferReply> {
  const base = { state, refusal, role: vpg?.role ?? "Dark", term: vpg?.term ?? 0, detail };
  const reverse = vpg?.reverse?.n === n ? vpg.reverse : undefined;
  if (vpg === undefined) return { ...base, seeded: false, seed: null, sync: null };
  const source = await findGateway(site, vpg.definition.sourceGatewayId);
  const sync = syncOf(streamOf(source, vpg.vpgId), n);
  if (reverse === undefined) return { ...base, seeded: true, seed: null, sync };
  const asked = await askedOf(site, reverse);
  const seeded = reverse.begun && isSeeded(reverse, asked);
  return {
    ...base,
    detail: [detail, ...waitsOf(reverse, asked)]
      .filter((text) => text !== "")
      .join("; ")
      .slice(0, 2000),
    seeded,
    seed: seedOf(reverse, asked),
    sync,
  };
}

/** What a site that took an offer waits for, and which old disks it does without, for people; empty when there is nothing to say. */
export async function reverseWaits(site: Site, { reverse }: VpgRecord): Promise<string> {
  return reverse === undefined ? "" : waitsOf(reverse, await askedOf(site, reverse)).join("; ");
}

/** What its gateways are asked now, as far as they are. */
async function askedOf(site: Site, reverse: Reverse): Promise<readonly CommandRecord[]> {
  const kind = reverse.begun ? "seed-volumes" : "close-volumes";
  const found = await Promise.all(
    reverse.gateways.map((gatewayId) => findCommand(site, commandIdOf(reverse, kind, gatewayId))),
  );
  return found.filter((command) => command !== undefined);
}

function waitsOf({ begun }: Reverse, asked: readonly CommandRecord[]): readonly string[] {
  return [...asked.flatMap((command) => waitsFor(command) ?? []), ...(begun ? missingSeeds(asked) : [])];
}

/** The sync of that term, also one that began and ended between two heartbeats. */
function syncOf(stream: StreamState | undefined, term: number): OfferReply["sync"] {
  return stream?.term === term ? (stream.sync ?? stream.lastSync ?? null) : null;
}

function waitsFor({ state, gatewayId, error, command, progress }: CommandRecord): string | undefined {
  const what = `${command.body.kind} at gateway ${gatewayId}`;
  if (state === "done") return undefined;
  if (state === "failed") return `${what} failed: ${error?.name ?? ""}: ${error?.message ?? ""}`;
  if (state === "expired") return `${what}: no answer`;
  return progress === null ? `${what} waits` : `${what}: ${progress.done} of ${progress.total} ${progress.unit}`;
}

function isSeeded({ attempt, gateways }: Reverse, asked: readonly CommandRecord[]): boolean {
  if (asked.length < gateways.length) return false;
  const over = asked.every(({ state }) => state === "done" || state === "failed" || state === "expired");
  return over && (attempt >= limits.seedAttemptsMax || asked.every(({ state }) => state === "done"));
}

const seedResultsOf = (asked: readonly CommandRecord[]) =>
  asked.flatMap(({ result }) => {
    const parsed = seedResultSchema.safeParse(result);
    return parsed.success ? [parsed.data] : [];
  });

/** What the sync has to send although an old disk may have it: volumes that no gateway has a disk of, and what can't be read. */
function missingSeeds(asked: readonly CommandRecord[]): readonly string[] {
  const results = seedResultsOf(asked);
  const leftOut = results.flatMap((result) => result.leftOut);
  const nowhere = leftOut.filter(
    ({ volume }) => leftOut.filter((one) => one.volume === volume).length === asked.length,
  );
  const unreadable = results.reduce((sum, { unreadableBytes }) => sum + unreadableBytes, 0);
  return [
    ...[...new Set(nowhere.map(({ why }) => why))].map((why) => `${why}: the sync sends it`),
    ...(unreadable === 0 ? [] : [`${formatBytes(unreadable)} of the old disks can't be read: the sync sends them`]),
  ];
}

function seedOf({ begun }: Reverse, asked: readonly CommandRecord[]): OfferReply["seed"] {
  const done = begun ? seedResultsOf(asked) : [];
  if (done.length === 0) return null;
  const sum = (of: (one: SyncedBytes) => number): number => done.reduce((all, one) => all + of(one), 0);
  return {
    hashedBytes: sum(({ hashedBytes }) => hashedBytes),
    differingBytes: sum(({ differingBytes }) => differingBytes),
    shippedBytes: sum(({ shippedBytes }) => shippedBytes),
  };
}
