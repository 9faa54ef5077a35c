import { FinalNotProved } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { formatPosition } from "#core/journal/position.ts";
import { toHex } from "#core/protection/batch-row.ts";
import { resolveCheckpoint } from "#core/protection/checkpoints.ts";
import type { Final } from "#core/protection/command.ts";
import { captureRevisionOf, type SourceGateway, sourceGatewaysOf } from "#core/protection/definition.ts";
import type { Operation } from "#core/protection/operation.ts";
import { readStored } from "#core/protection/read-object.ts";
import { type KnownSession, progressOfSessions } from "#core/protection/session-list.ts";
import { assertTableCurrent } from "#core/protection/terms.ts";
import { lastSessionOf, type VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { measureLostTail } from "./lost-tail.ts";
import { vpgOf } from "./operation-store.ts";
import { runStep, stepNames } from "./steps.ts";

/** What is wrong with one gateway's end, or undefined. */
type Problem = string | undefined;

/**
 * Task prove-final of a move (invariant 6): of every source gateway the newest session is the one that it ended, its chain here
 * ends with that very FINAL, by sequence and hash, nothing of it is unsynced, and no write stands behind the checkpoint. That
 * checkpoint is what is recovered. From the beginning of this step on no gateway is granted a session. Throws `FinalNotProved`,
 * `TableBehindBucket`, `NoCheckpoint`.
 */
export async function proveFinal(site: Site, operationId: Id): Promise<void> {
  await runStep(site, operationId, stepNames.proveFinal, async (operation) => {
    const vpg = await vpgOf(site, operation);
    await assertTableCurrent(site, vpg);
    const sessions = await progressOfSessions(site, operation.vpgId);
    for (const gateway of sourceGatewaysOf(vpg.definition)) {
      const problem = await problemOf(site, vpg, operation, gateway, sessions);
      if (problem !== undefined) {
        throw new FinalNotProved(`nothing can be proved of gateway ${gateway.name}: ${problem}`, {
          gateway: gateway.name,
        });
      }
    }
    const checkpoint = await checkpointBefore(site, vpg, operation);
    const proof = { checkpointId: checkpoint.id, checkpointTime: checkpoint.time };
    const { writes } = await measureLostTail(site, vpg, { ...operation, ...proof });
    if (writes > 0) throw new FinalNotProved(`${writes} writes stand behind checkpoint ${checkpoint.id}`, { writes });
    const text = proofText(operation, checkpoint.id);
    const verdicts = [...operation.verdicts, { name: "nothing lost", ok: true, text }];
    return { result: text, change: { ...proof, verdicts } };
  });
}

async function problemOf(
  site: Site,
  vpg: VpgRecord,
  { finals, operationId, term }: Operation,
  { gatewayId }: SourceGateway,
  sessions: readonly KnownSession[],
): Promise<Problem> {
  const final = finals[gatewayId];
  if (final === undefined) return "it has given no FINAL";
  const newest = lastSessionOf(vpg, gatewayId);
  if (newest !== final.session) return `session ${newest} was opened after session ${final.session}, which it ended`;
  const known = sessions.find(({ state }) => state.claim.session === final.session);
  if (known === undefined || known.state.claim.gatewayId !== gatewayId)
    return `session ${final.session} is not its own`;
  if (known.state.claim.configRevision < captureRevisionOf(vpg.definition)) {
    return "its session has the volumes of before an edit that it has not taken up (farshore vpg show)";
  }
  if (known.state.claim.term !== term) return `session ${final.session} is of term ${known.state.claim.term}`;
  return problemOfRun(known, final) ?? (await problemOfHead(site, known, final, operationId));
}

/** The unbroken run as this site folded it. */
function problemOfRun({ progress }: KnownSession, final: Final): Problem {
  if (progress.end !== "open") return `its session is ${progress.end}`;
  if (progress.syncing.length > 0) return `volume ${progress.syncing.join(", ")} is in a sync`;
  if (progress.batches !== final.batch + 1 || progress.lastSequence !== final.sequence) {
    return `its session ends here at sequence ${progress.lastSequence}, not at the FINAL, ${final.sequence}`;
  }
  return progress.hash === final.hash ? undefined : "its chain here is not the one that it sent";
}

/** The objects themselves: the FINAL of this operation, and nothing behind it. */
async function problemOfHead(
  site: Site,
  { state }: KnownSession,
  { session, batch, sequence, hash }: Final,
  operationId: Id,
): Promise<Problem> {
  const { vpgId, claim } = state;
  const place = { vpgId, term: claim.term, session };
  const head = await readStored(site.objects, { ...place, batch });
  if (head?.kind !== "batch" || toHex(head.hash) !== hash) return `batch ${batch} is not the one that it sent`;
  const last = head.header.events.at(-1);
  if (last?.kind !== "final" || last.sequence !== sequence || last.operationId !== operationId) {
    return `batch ${batch} does not end with the FINAL of this operation`;
  }
  const behind = await readStored(site.objects, { ...place, batch: batch + 1 });
  return behind === undefined ? undefined : `a ${behind.kind} stands behind its FINAL`;
}

async function checkpointBefore(site: Site, { vpgId, definition }: VpgRecord, { finals }: Operation) {
  const final = finals[definition.sourceGatewayId];
  const { checkpoint = null, session = 0, sequence = 0 } = final ?? {};
  if (checkpoint === null || checkpoint.session !== session || checkpoint.sequence !== sequence - 1) {
    throw new FinalNotProved("no checkpoint stands directly before the FINAL");
  }
  return await resolveCheckpoint(site, vpgId, { kind: "id", id: formatPosition(checkpoint) });
}

function proofText({ finals }: Operation, checkpointId: string): string {
  const ends = Object.values(finals)
    .map(({ session, sequence, hash }) => `session ${session} ends at ${sequence} (${hash.slice(0, 12)}…)`)
    .join(", ");
  return `0 writes not recovered: ${ends}, as the closed source said; checkpoint ${checkpointId} has all before it.`;
}
