import { ConditionFailed } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { findCommand, issueCommand } from "#core/protection/commands.ts";
import { type SourceGateway, sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway, isConnected } from "#core/protection/gateway-store.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { updateVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { powerOnBody } from "./plan-command.ts";

/**
 * The reconciler's part of rollbacks that found the source silent: it asks each source gateway that is heard again to power on
 * what the operation had shut down, as long as the VPG is journaled here and nothing that was recovered may run: no operation is
 * under way or holds the VPG (forgotten.ts). A gateway that has nothing to power on says so; one whose hook fails is asked again, a
 * bounded number of times.
 */
export async function powerOnLater(site: Site, vpg: VpgRecord): Promise<void> {
  if (vpg.operationId !== null || vpg.forgotten.length > 0 || vpg.role !== "Journal") return;
  if (vpg.powerOnDue.length === 0) return;
  const open: Id[] = [];
  for (const operationId of vpg.powerOnDue) {
    const gateways = sourceGatewaysOf(vpg.definition);
    const done = await Promise.all(gateways.map((gateway) => isPoweredOn(site, vpg, operationId, gateway)));
    if (done.includes(false)) open.push(operationId);
    else site.log.info("source-powered-on-later", { operationId, vpgId: vpg.vpgId });
  }
  if (open.length === vpg.powerOnDue.length) return;
  try {
    await updateVpg(site, vpg, { powerOnDue: open });
  } catch (error) {
    // Somebody changed the VPG: the next run sees what is so then.
    if (!(error instanceof ConditionFailed)) throw error;
  }
}

async function isPoweredOn(site: Site, vpg: VpgRecord, operationId: Id, gateway: SourceGateway): Promise<boolean> {
  for (let number = 1; number <= limits.powerOnTriesMax; number += 1) {
    const commandId = `${operationId}.later-${number}.power-on-source.${gateway.gatewayId}`;
    const command = await findCommand(site, commandId);
    if (command?.state === "failed" || command?.state === "expired") continue;
    if (command !== undefined) return command.state === "done";
    if (isConnected(await findGateway(site, gateway.gatewayId), site.clock.now())) {
      const body = powerOnBody(vpg, operationId, gateway);
      await issueCommand(site, gateway.gatewayId, { commandId, body, expiresInMs: limits.powerOnExpiryMs });
    }
    return false;
  }
  return false;
}
