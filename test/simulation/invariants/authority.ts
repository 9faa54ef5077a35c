import type { Id } from "#core/ids.ts";
import type { SessionRun } from "#core/journal/bucket-journal.ts";
import type { Term } from "#core/protection/term.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { findOperation } from "#core/recovery/operation-store.ts";
import type { Machine } from "../machine.ts";
import type { Protection } from "../protection.ts";
import type { SimGateway } from "../sim-gateway.ts";
import type { SimSite } from "../sim-site.ts";
import { Violation } from "../violation.ts";

/** The highest term that a bucket was seen to have, its newest session, and where its sealed ones ended. */
export interface KnownAuthority {
  term: number;
  session: number;
  /** Session to the last sequence of its valid run. */
  readonly sealed: Map<number, number>;
}

/** Invariant 4 by one bucket: nobody opens a session of a term that is over, and no session is open beside a newer one. */
export async function checkAuthority(
  { name }: Protection,
  site: SimSite,
  vpgId: Id,
  sessions: readonly SessionRun[],
  known: KnownAuthority,
): Promise<void> {
  for (const { claim } of sessions) {
    if (claim.session > known.session && claim.term < known.term) {
      const opened = `session ${claim.session} of ${name} at ${site.name} was opened in term ${claim.term}`;
      throw new Violation("one writer", `${opened} when term ${known.term} had been claimed`);
    }
  }
  const open = sessions.slice(0, -1).find(({ end }) => end.kind !== "sealed");
  if (open !== undefined) {
    throw new Violation("one writer", `session ${open.claim.session} of ${name} was followed and never sealed`);
  }
  for (const { claim, end, lastSequence } of sessions) {
    const before = known.sealed.get(claim.session);
    if (before !== undefined && (end.kind !== "sealed" || before !== lastSequence)) {
      throw new Violation(
        "one writer",
        `session ${claim.session} of ${name} was sealed at ${before} and ends at ${lastSequence} now`,
      );
    }
    if (end.kind === "sealed") known.sealed.set(claim.session, lastSequence);
  }
  const highest = (await highestTerm({ objects: site.objects }, vpgId))?.n ?? 0;
  if (highest < known.term) {
    throw new Violation("one writer", `${name} at ${site.name} was in term ${known.term} and is in ${highest} now`);
  }
  known.session = sessions.at(-1)?.claim.session ?? 0;
  known.term = highest;
}

const isKeyholder = (site: SimSite, term: Term | undefined): boolean =>
  term !== undefined && (term.journal ?? term.runs) === site.siteId;

/** Invariant 4 over both buckets: one site at most may mint the next term, and whoever reverse protection closed stays closed. */
export async function checkBothSites(protection: Protection): Promise<void> {
  const { vpgId, sites, name } = protection;
  const terms = await Promise.all(sites.map((site) => highestTerm({ objects: site.objects }, vpgId)));
  if (sites.every((site, index) => isKeyholder(site, terms[index]))) {
    const numbers = terms.map((term) => term?.n).join(" and ");
    throw new Violation("one writer", `both sites may fail ${name} over, by terms ${numbers}`);
  }
  const [newest] = terms.filter((term) => term !== undefined).sort((left, right) => right.n - left.n);
  if (newest === undefined || newest.n === 1 || newest.journal === null) return;
  const runner = protection.machineOf(vpgId, newest.n) ?? promoted(protection).at(-1);
  // What an operation that was never committed left behind is nobody's production.
  const old = [protection.first, ...promoted(protection)].find(
    (machine) => machine.takesWrites && machine.order < (runner?.order ?? 0) && !protection.givenUp.has(machine),
  );
  if (old !== undefined) {
    throw new Violation("one writer", `${textOf(old)} takes writes in term ${newest.n}, which runs elsewhere`);
  }
}

/** Those of committed operations, the oldest first. */
function promoted(protection: Protection): readonly Machine[] {
  const { vpgId } = protection;
  const committed = protection.folders().filter(({ folder }) => folder.body.vpgId === vpgId && folder.promoted);
  return committed
    .flatMap(({ folder: { machine } }) => (machine === undefined ? [] : [machine]))
    .sort((left, right) => left.order - right.order);
}

const textOf = ({ vpgName, operationId, order }: Machine): string =>
  operationId === undefined ? `the first machine of ${vpgName}` : `machine ${order} of ${vpgName} (${operationId})`;

/** R17: a gateway that was started while recovered VMs ran has not let its own write. */
export async function checkColdStart(protection: Protection): Promise<void> {
  for (const gateway of protection.gateways) {
    const own = gateway.machines.filter(({ takesWrites, operationId }) => takesWrites && !isOpen(gateway, operationId));
    const newest = own.at(-1);
    if (newest === undefined) continue;
    const beside = await recoveredBeside(protection, gateway, newest, gateway.startedAt);
    if (beside === undefined) continue;
    throw new Violation("one writer", `${gateway.name} was started and takes writes beside the VMs of ${beside}`);
  }
}

/** Its volumes are of an operation that was not committed yet: serving them needs no grant. */
const isOpen = (gateway: SimGateway, operationId: Id | undefined): boolean =>
  operationId !== undefined && gateway.recovered.folders.get(operationId)?.terms.size === 0;

/** R17: what a gateway was granted; `beganAt` is when the site got its ask. */
export async function checkGrant(protection: Protection, gateway: SimGateway, beganAt: number): Promise<void> {
  const newest = gateway.machines.filter(({ operationId }) => !isOpen(gateway, operationId)).at(-1);
  if (newest === undefined) return;
  const beside = await recoveredBeside(protection, gateway, newest, beganAt);
  if (beside === undefined) return;
  throw new Violation("one writer", `${gateway.name} was granted its VMs while those of operation ${beside} run`);
}

/** An operation whose VMs followed the gateway's, run since before `since` at the other gateway, and may run. */
async function recoveredBeside(
  { gateways, forgotten, vpgId }: Protection,
  gateway: SimGateway,
  { order }: Machine,
  since: number,
): Promise<string | undefined> {
  for (const other of gateways) {
    if (other === gateway) continue;
    for (const machine of other.recovered.machines) {
      const { operationId, runs, vms } = machine;
      if (!runs || machine.order < order || vms.bootedAt >= since || operationId === undefined) continue;
      // A table from before the operation knows nothing of it, and nothing in the bucket says more.
      if (forgotten.has(operationId)) continue;
      const operation = await findOperation(other.own.site.seen(), operationId);
      if (operation === undefined || operation.vpgId !== vpgId) continue;
      return `${operationId} (${operation.phase})`;
    }
  }
  return undefined;
}
