import { InvalidInput, OperationAborted } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import { closedSources } from "#core/protection/closed-source.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway } from "#core/protection/gateway-store.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { MoveOptions, Operation } from "#core/protection/operation.ts";
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
 * BeforeCommit; what fails on the way undoes it, as ever. Throws `InvalidInput` when no source gateway that was heard is closed by such
 * a move, and what `startOperation` throws.
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
  return startOperation(site, caller, vpg, { kind: "move", requestId, options }, undefined, {
    attempt: await unusedAttempt(site, requestId),
    resumeId: newId(site.clock, site.random),
    // Which of its VMs it had stopped, a gateway knows.
    sourceWasShutDown: true,
  });
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
