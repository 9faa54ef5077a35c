import { chunkBytes } from "#core/blocks/geometry.ts";
import { OfferRefused } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { claimTerm, readAuthority } from "#core/protection/authority.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { OfferReply } from "#core/protection/offer.ts";
import type { Operation, ReverseFigures } from "#core/protection/operation.ts";
import { begunBy, forcedBy, startedBy } from "#core/protection/reverse.ts";
import type { Term } from "#core/protection/term.ts";
import { changeVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import { deciders, findDecision, settleDecision } from "./decide.ts";
import { recoveryLimits } from "./limits.ts";
import { changeOperation, getOperation, type OperationRecord, vpgOf } from "./operation-store.ts";
import {
  askPeer,
  ensureOffer,
  type JournalPeer,
  journalPeer,
  offerRequest,
  ownOffer,
  startedRequest,
  termOf,
  withdraw,
  withdrawRequest,
} from "./reverse-offer.ts";
import { enterDecided } from "./route.ts";
import { assertStepFits, endedStep, endStep, phaseOf, startedStep, stepNames, stepOk } from "./steps.ts";

/** Where reverse protection goes next: `wait` asks again after `waitSeconds`, 1 to 1800. */
export interface NextStep {
  readonly route: "wait" | "go" | "commit" | "undo" | "end";
  readonly waitSeconds: number;
}

interface Done {
  readonly done: string;
  readonly route: NextStep["route"];
}

type Outcome = { readonly wait: string } | Done;

interface Work {
  readonly operation: OperationRecord;
  readonly vpg: VpgRecord;
}

const steps: Readonly<Record<string, (site: Site, work: Work) => Promise<Outcome>>> = {
  [stepNames.offerTerm]: offer,
  [stepNames.startTerm]: start,
  [stepNames.awaitJournal]: awaitJournal,
  [stepNames.withdrawOffer]: takeBack,
};

/**
 * Task ask-peer: does as much of a step as the peer's answer allows, and says whether to ask again. What was done and what is
 * waited for stands in the step's record; each call may be repeated. Waits grow with the step's age, so that one of a month fits
 * an execution's history.
 */
export async function reverseStep(site: Site, operationId: Id, step: string): Promise<NextStep> {
  const work = steps[step];
  if (work === undefined) throw new RangeError(`${step} is no step of reverse protection`);
  const known = await getOperation(site, operationId);
  const decided = step === stepNames.offerTerm ? await findDecision(site, operationId) : undefined;
  if (decided !== undefined) {
    const route = (await enterDecided(site, operationId, decided)) === "undo" ? "undo" : "commit";
    if (stepOk(known, step)) return { route, waitSeconds: 1 };
    return end(site, operationId, step, { done: `Decided: ${decided.decision}.`, route });
  }
  if (stepOk(known, step)) return { route: step === stepNames.startTerm ? "go" : "end", waitSeconds: 1 };
  const operation = await changeOperation(site, operationId, (record) => {
    assertStepFits(record, step);
    if (record.steps[step]?.state === "running") return undefined;
    const now = startedStep(site.clock.now());
    return { change: { phase: phaseOf(record, step), steps: { ...record.steps, [step]: now } } };
  });
  const outcome = await work(site, { operation, vpg: await vpgOf(site, operation) });
  const now = site.clock.now();
  if ("wait" in outcome) {
    const ageMs = now - (operation.steps[step]?.startedAt ?? now);
    await note(site, operationId, step, outcome.wait);
    return { route: "wait", waitSeconds: waitSeconds(ageMs) };
  }
  return end(site, operationId, step, outcome);
}

async function end(site: Site, operationId: Id, step: string, { done, route }: Done): Promise<NextStep> {
  await changeOperation(site, operationId, (record) => {
    const ended = endedStep(record.steps[step], site.clock.now(), { state: "done", result: done });
    return { change: endStep(record, step, ended) };
  });
  return { route, waitSeconds: 1 };
}

/** A twentieth of the step's age: some 130 rounds to the longest wait, and 1440 of those in 30 days. */
function waitSeconds(ageMs: number): number {
  const { peerWaitMsMin, peerWaitMsMax } = recoveryLimits;
  return Math.ceil(Math.min(peerWaitMsMax, Math.max(peerWaitMsMin, ageMs / 20)) / 1000);
}

async function note(site: Site, operationId: Id, step: string, result: string): Promise<void> {
  await changeOperation(site, operationId, (record) => {
    const running = record.steps[step];
    if (running?.state !== "running" || running.result === result) return undefined;
    return { change: { steps: { ...record.steps, [step]: { ...running, result } } } };
  });
}

const silent = ({ name }: JournalPeer): string => `site ${name} does not answer`;
const saying = ({ name }: JournalPeer, { detail }: OfferReply, what: string): string =>
  `site ${name} ${what}${detail === "" ? "" : `: ${detail}`}`;

/** P1, until the peer's gateways are closed. */
async function offer(site: Site, { operation, vpg }: Work): Promise<Outcome> {
  if (operation.reverse?.force === true) return goOn(site, operation, "to be ended alone");
  const peer = await journalPeer(site, vpg);
  const { standing } = await readAuthority(site, vpg.vpgId, vpg);
  const begun = begunBy(standing, peer.siteId);
  if (begun !== undefined) return goOn(site, operation, `term ${begun.n} has begun already`);
  const offered = await ensureOffer(site, vpg, operation, peer);
  const { n } = offered.term;
  const reply = await askPeer(site, peer, offerRequest(offered));
  if (reply === undefined) return tooLate(operation, site) ?? { wait: `Offered as term ${n}; ${silent(peer)}.` };
  if (reply.state === "refused" && reply.refusal !== "busy") {
    throw new OfferRefused(saying(peer, reply, "refuses the offer"), { term: n, refusal: reply.refusal });
  }
  const fresh = await readAuthority(site, vpg.vpgId, vpg);
  if (startedBy(fresh.standing, n, reply) !== undefined)
    return goOn(site, operation, `offered as term ${n}; ${closedText(operation, peer)}`);
  if (reply.state === "closing" || reply.state === "refused") {
    return (
      tooLate(operation, site) ?? {
        wait: `Offered as term ${n}; ${saying(peer, reply, reply.state === "closing" ? "closes its gateways" : "is busy")}.`,
      }
    );
  }
  throw new OfferRefused(saying(peer, reply, `says "${reply.state}" of the offer of term ${n}`), { term: n });
}

const closedText = ({ reverse }: Operation, { name }: JournalPeer): string =>
  reverse?.gatewayLost ? `nothing is closed at ${name}, whose gateway is lost` : `all of ${name} is closed`;

function tooLate({ createdAt }: Operation, site: Site): undefined {
  if (site.clock.now() - createdAt < limits.commitWaitMsMax) return undefined;
  throw new OfferRefused(`nothing was agreed within ${formatDuration(limits.commitWaitMsMax)}`);
}

async function goOn(site: Site, operation: Operation, why: string): Promise<Outcome> {
  const wanted = { decision: "commit", by: deciders.workflow, success: null, notes: why } as const;
  const decision = await settleDecision(site, operation, wanted);
  const route = await enterDecided(site, operation.operationId, decision);
  return { done: `${why.charAt(0).toUpperCase()}${why.slice(1)}.`, route: route === "undo" ? "undo" : "commit" };
}

/** P4: the term is claimed and recorded; then the peer is told until its old disks are in its journal. */
async function start(site: Site, { operation, vpg }: Work): Promise<Outcome> {
  if (operation.reverse?.force === true) return endAlone(site, operation, vpg);
  const peer = await journalPeer(site, vpg);
  const term = await claimOffered(site, operation, vpg, peer);
  await recordTerm(site, operation, term);
  const reply = await askPeer(site, peer, startedRequest(vpg.vpgId, term.n));
  if (reply === undefined) return { wait: `Term ${term.n} has begun; ${silent(peer)}.` };
  await keepFigures(site, operation.operationId, reply);
  if (reply.state === "journal" || reply.state === "superseded")
    return { done: `Term ${term.n} has begun.`, route: "go" };
  if (reply.state === "preparing") {
    if (reply.seeded) {
      const seeds = operation.reverse?.gatewayLost
        ? "nothing of the old disks is used"
        : reply.detail === ""
          ? "the old disks are in the journal"
          : saying(peer, reply, "has not all old disks in its journal");
      return { done: `Term ${term.n} has begun; ${seeds}.`, route: "go" };
    }
    return { wait: `Term ${term.n} has begun; ${saying(peer, reply, "brings its old disks into the journal")}.` };
  }
  await offerAgain(site, vpg, peer, term);
  return { wait: `Term ${term.n} has begun; ${saying(peer, reply, `says "${reply.state}"`)}.` };
}

/** The peer has lost what it had agreed to, or part of it. */
async function offerAgain(site: Site, vpg: VpgRecord, peer: JournalPeer, term: Term): Promise<void> {
  const { offers } = await readAuthority(site, vpg.vpgId, vpg);
  const stored = offers.find((one) => one.term.n === term.n && one.term.minter === site.siteId);
  if (stored !== undefined) await askPeer(site, peer, offerRequest(stored));
}

async function claimOffered(site: Site, operation: Operation, vpg: VpgRecord, peer: JournalPeer): Promise<Term> {
  const authority = await readAuthority(site, vpg.vpgId, vpg);
  const begun = begunBy(authority.standing, peer.siteId);
  if (begun !== undefined) return begun;
  const offered = ownOffer(authority);
  const term = offered?.operationId === operation.operationId ? await claimTerm(site, offered.term) : undefined;
  if (term?.journal != null) return term;
  throw new OfferRefused(`the offer of ${operation.operationId} was taken back before it began`);
}

async function recordTerm(site: Site, { operationId }: Operation, term: Term): Promise<void> {
  await changeVpg(site, term.vpgId, (record) => {
    if (record.term >= term.n) return undefined;
    site.log.info("term-minted", { vpgId: term.vpgId, term: term.n, operationId });
    return { term: term.n, role: "Runs", needsConfiguration: true };
  });
}

/** `--force`: this site goes on without a journal, whatever the peer has. */
async function endAlone(site: Site, { operationId }: Operation, vpg: VpgRecord): Promise<Outcome> {
  const { standing } = await readAuthority(site, vpg.vpgId, vpg);
  const link = forcedBy(standing, true);
  const own = standing.highest?.operationId === operationId && standing.highest.journal === null;
  const term = own ? standing.highest : link && (await claimTerm(site, termOf(site, vpg.vpgId, operationId, link)));
  if (term === undefined) throw new OfferRefused(`${vpg.definition.name} has no term whose journal could be given up`);
  await changeVpg(site, vpg.vpgId, (record) =>
    record.term >= term.n ? undefined : { term: term.n, role: "Runs", needsConfiguration: true },
  );
  const result = `Term ${term.n}: ${vpg.definition.name} runs here without a journal.`;
  await changeOperation(site, operationId, ({ steps: known }) => {
    const step = endedStep(known[stepNames.endAlone], site.clock.now(), { state: "done", result });
    return { change: { steps: { ...known, [stepNames.endAlone]: step } } };
  });
  site.log.warn("reverse-forced", { vpgId: vpg.vpgId, term: term.n, operationId });
  return { done: result, route: "end" };
}

/** P5, as the peer says. */
async function awaitJournal(site: Site, { operation, vpg }: Work): Promise<Outcome> {
  if (operation.reverse?.force === true) return endAlone(site, operation, vpg);
  const peer = await journalPeer(site, vpg);
  const reply = await askPeer(site, peer, startedRequest(vpg.vpgId, vpg.term));
  if (reply === undefined) return { wait: `${silent(peer)}.` };
  await keepFigures(site, operation.operationId, reply);
  if (reply.state === "journal" || reply.state === "superseded") {
    await protectedNow(site, vpg);
    return { done: `Site ${peer.name} has the journal, in term ${vpg.term}.`, route: "end" };
  }
  const { sync } = reply;
  if (reply.state !== "preparing") {
    const { standing } = await readAuthority(site, vpg.vpgId, vpg);
    if (standing.highest !== undefined) await offerAgain(site, vpg, peer, standing.highest);
  }
  const progress =
    sync === null
      ? "waits for the first checkpoint"
      : `compares: ${sync.comparedChunks} of ${sync.totalChunks} chunks, ${sync.differingChunks} differ`;
  return { wait: `${saying(peer, reply, progress)}.` };
}

async function protectedNow(site: Site, vpg: VpgRecord): Promise<void> {
  await changeVpg(site, vpg.vpgId, (record) => (record.needsConfiguration ? { needsConfiguration: false } : undefined));
}

/** What was hashed, differed and was shipped, as it was last heard; the peer forgets it when it is done. */
async function keepFigures(site: Site, operationId: Id, { seed, sync }: OfferReply): Promise<void> {
  await changeOperation(site, operationId, (record) => {
    const known: ReverseFigures = record.reverseFigures ?? { seed: null, sync: null };
    const next: ReverseFigures = {
      seed: seed ?? known.seed,
      sync:
        sync === null
          ? known.sync
          : {
              hashedBytes: sync.comparedChunks * chunkBytes,
              differingBytes: sync.differingChunks * chunkBytes,
              shippedBytes: sync.shippedBytes,
            },
    };
    return JSON.stringify(next) === JSON.stringify(known) ? undefined : { change: { reverseFigures: next } };
  });
}

/** Before P4: nothing of the offer can begin any more. The peer's gateways stay closed, for the VPG runs here. */
async function takeBack(site: Site, { operation, vpg }: Work): Promise<Outcome> {
  const { operationId, vpgId } = operation;
  const taken = await withdrawOwn(site, operation, vpg);
  if (taken === undefined) return { done: "Nothing had been offered.", route: "end" };
  const peer = await journalPeer(site, vpg);
  const told = await askPeer(site, peer, withdrawRequest(vpgId, taken.n)).catch((error: unknown) => {
    site.log.info("peer-not-told", { operationId, error });
    return undefined;
  });
  const heard =
    told === undefined ? `; site ${peer.name} could not be told, and refuses nothing that is offered later` : "";
  return { done: `The offer of term ${taken.n} is taken back${heard}.`, route: "end" };
}

/** The bucket's part of taking back, which needs nobody else. Throws `OfferRefused` when the term began first. */
export async function withdrawOwn(site: Site, { operationId }: Operation, vpg: VpgRecord): Promise<Term | undefined> {
  const authority = await readAuthority(site, vpg.vpgId, vpg);
  const own = ownOffer(authority);
  const mine = authority.standing.highest;
  const before = mine?.operationId === operationId && mine.n > vpg.term ? mine : undefined;
  const stands =
    before ?? (own?.operationId === operationId ? await withdraw(site, vpg, authority, operationId) : undefined);
  if (stands === undefined) return mine?.operationId === operationId && mine.journal === null ? mine : undefined;
  if (stands.journal !== null)
    throw new OfferRefused(`term ${stands.n} has begun; farshore operation retry ${operationId} goes on with it`);
  await changeVpg(site, vpg.vpgId, (record) => (record.term >= stands.n ? undefined : { term: stands.n }));
  return stands;
}
