import { InvalidInput, OperationAborted } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import { decisionKey, reportPrefix } from "#core/journal/keys.ts";
import { parseStored, tableFields } from "#core/json.ts";
import { readOffers } from "#core/protection/authority.ts";
import { closedSources } from "#core/protection/closed-source.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway } from "#core/protection/gateway-store.ts";
import { items } from "#core/protection/items.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { decisionSchema, type MoveOptions, type Operation } from "#core/protection/operation.ts";
import { termsOf } from "#core/protection/terms.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { executionName, findOperation } from "./operation-store.ts";
import { startOperation } from "./start-operation.ts";

/** Of a move whose own options were lost: it waits for a person, and removes nothing. */
const options: MoveOptions = {
  graceMs: limits.shutdownGraceMsDefault,
  commitPolicy: { action: "none" },
  source: "keep",
  verify: false,
};

/**
 * Goes on with the move that closed the VPG's source and that this site has forgotten, since it stood in a table that was made again.
 * Gateways know what they did for an operation by its id, so the same id from the beginning does again only what is missing, up to
 * BeforeCommit; what fails on the way undoes it, as ever. A rollback that was decided stands (R15), and is all that is done. Throws
 * `InvalidInput` when no source gateway that was heard is closed by such a move, or by what the bucket knows as something else, and what
 * `startOperation` throws.
 */
export async function resumeMove(site: Site, caller: Caller, ref: string): Promise<Operation> {
  const vpg = await getVpg(site, ref);
  const requestId = await forgottenMove(site, vpg);
  if (requestId === undefined) {
    throw new InvalidInput(
      `no source gateway of ${vpg.definition.name} was heard to be closed by a move that this site does not know`,
      { vpgId: vpg.vpgId },
    );
  }
  await assertNeverEnded(site, vpg, requestId);
  await takeUpRollback(site, vpg, requestId);
  return startOperation(site, caller, vpg, { kind: "move", requestId, options }, undefined, {
    attempt: await unusedAttempt(site, requestId),
    resumeId: newId(site.clock, site.random),
    // Which of its VMs it had stopped, a gateway knows.
    sourceWasShutDown: true,
  });
}

/** What has a term, an offer or a report is not a move that was lost half way, whatever a gateway says of it. */
async function assertNeverEnded(site: Site, { vpgId, definition }: VpgRecord, operationId: Id): Promise<void> {
  const { offers } = await readOffers(site, vpgId);
  const terms = [...(await termsOf(site, vpgId)), ...offers.map(({ term }) => term)];
  const reports = await site.objects.list(reportPrefix(vpgId, operationId), { limit: 1 });
  if (reports.length === 0 && terms.every((term) => term.operationId !== operationId)) return;
  throw new InvalidInput(
    `operation ${operationId} of ${definition.name} is no move that was left open: the bucket has its term or its report. If nothing else ` +
      "runs the VMs, farshore gateway open-volumes at the source gateway's machine opens what it keeps closed",
    { vpgId, operationId },
  );
}

async function takeUpRollback(site: Site, { vpgId }: VpgRecord, operationId: Id): Promise<void> {
  const key = decisionKey(vpgId, operationId);
  if ((await site.objects.head(key)) === undefined) return;
  const decision = parseStored(decisionSchema, await site.objects.get(key), key);
  if (decision.decision === "commit") return;
  await site.table.transact([{ put: items.decision(operationId), fields: tableFields(decision) }]);
}

/**
 * Its executions outlived the table. One that still runs is stopped, for it would go on beside the new one; unless somebody else has
 * resumed the move meanwhile, and it is theirs.
 */
async function unusedAttempt(site: Site, operationId: Id): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const name = executionName({ operationId, attempt });
    const execution = await site.workflows.describe("move", name);
    if (execution === undefined) return attempt;
    if (execution.status !== "RUNNING") continue;
    if ((await findOperation(site, operationId)) !== undefined) return attempt;
    site.log.warn("forgotten-execution-stopped", { operationId, execution: name });
    await site.workflows.stop(
      "move",
      name,
      OperationAborted.name,
      "the site has forgotten the operation, and goes on with it anew",
    );
  }
}

async function forgottenMove(site: Site, vpg: VpgRecord): Promise<Id | undefined> {
  const sources = await Promise.all(
    sourceGatewaysOf(vpg.definition).map(async ({ gatewayId, name }) => ({
      name,
      streams: (await findGateway(site, gatewayId))?.streams ?? [],
    })),
  );
  return (await closedSources(site, vpg, sources)).find(({ of }) => of === "forgotten")?.operationId;
}
