import { ConditionFailed, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkpointParts } from "#core/protection/checkpoints.ts";
import type { VpgDefinition } from "#core/protection/definition.ts";
import { storeDefinition } from "#core/protection/edit-vpg.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { sealSessionsOf } from "#core/protection/seal.ts";
import type { Term } from "#core/protection/term.ts";
import { highestTerm, mintTerm } from "#core/protection/terms.ts";
import { updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { measureLostTail } from "./lost-tail.ts";
import { lostTailText } from "./lost-tail-text.ts";
import { type OperationRecord, recoveredOf, vpgOf } from "./operation-store.ts";
import { checkpointOf } from "./plan-command.ts";
import { runStep, stepNames } from "./steps.ts";

/**
 * Task mint-term: the VPG passes to this site. The claim in the bucket is what counts (R9); the table follows. From here on
 * nothing of the source's term is taken any more, and the operation only goes forward.
 */
export async function takeOver(site: Site, operationId: Id): Promise<void> {
  await runStep(site, operationId, stepNames.mintTerm, async (operation) => {
    const term = await ensureMinted(site, operation);
    return { result: `Term ${term.n}: ${operation.vpgName} runs at ${site.siteName}.` };
  });
}

/** The operation's term, claimed and recorded; safe to repeat at any time after the commit was decided. */
export async function ensureMinted(site: Site, operation: OperationRecord): Promise<Term> {
  for (let attempt = 0; attempt < limits.writeAttemptsMax; attempt += 1) {
    const vpg = await vpgOf(site, operation);
    const highest = await highestTerm(site, operation.vpgId);
    const claimed = highest !== undefined && isOwnClaim(site, operation, highest) ? highest : undefined;
    const parts = await checkpointParts(site, vpg, checkpointOf(operation));
    const fork = parts.map(({ position }) => ({ ...position }));
    const next = { n: vpg.term + 1, runs: site.siteId, journal: null, fork, operationId: operation.operationId };
    const term = claimed ?? (await mintTerm(site, vpg, next));
    if (vpg.term === term.n) return term;
    try {
      const definition = await recoveredDefinition(site, vpg, operation);
      await updateVpg(site, vpg, { term: term.n, role: "Runs", needsConfiguration: true, definition });
      site.log.info("term-minted", { vpgId: vpg.vpgId, term: term.n, operationId: operation.operationId });
      return term;
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }
  throw new Transient(`${operation.vpgName} is being changed by others`);
}

/** The id alone says little: a resumed move's comes from a gateway, and this site may know it as that of a peer's operation. */
const isOwnClaim = (site: Site, operation: OperationRecord, { operationId, minter, n }: Term): boolean =>
  operationId === operation.operationId && minter === site.siteId && n > operation.term;

/**
 * The definition from the commit on. A checkpoint from before an edit brought back what was captured then, so that is what the VPG
 * has now. The bucket comes first: nobody edits while the operation holds the VPG.
 */
async function recoveredDefinition(site: Site, vpg: VpgRecord, operation: OperationRecord): Promise<VpgDefinition> {
  const today = vpg.definition;
  const recovered = await recoveredOf(site, operation, vpg);
  if (recovered === today) return today;
  const revision = today.revision + 1;
  const definition = { ...recovered, revision, captureRevision: revision, initiatedBy: operation.initiatedBy };
  await storeDefinition(site, definition);
  return definition;
}

/** Task seal-sessions: ends the old term's sessions for every reader of the bucket, and then measures what was left behind. */
export async function sealOldTerm(site: Site, operationId: Id): Promise<void> {
  await runStep(site, operationId, stepNames.sealSessions, async (operation) => {
    const vpg = await vpgOf(site, operation);
    await sealOldSessions(site, operation, vpg.term);
    const lostTail = await measureLostTail(site, vpg, operation);
    return { result: lostTailText(lostTail), change: { lostTail } };
  });
}

/** Seals the sessions of the term before `term`, which is the operation's; safe to repeat. */
export function sealOldSessions(site: Site, { vpgId, term: old }: OperationRecord, term: number): Promise<void> {
  return sealSessionsOf(site, { vpgId }, old, "failover-committed", { term, session: 0 });
}
