import { Transient } from "#core/errors.ts";
import type { Forgotten } from "#core/protection/forgotten.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Protection } from "./protection.ts";
import type { SimSite } from "./sim-site.ts";
import type { World } from "./world.ts";

/**
 * Does what the alert says for each operation that a site forgot with its table; answers which, undefined when there is none. One that
 * could be gone on with waits until the others are over.
 */
export async function endForgotten(world: World, protection: Protection): Promise<string | undefined> {
  const held: string[] = [];
  for (const site of protection.sites) {
    const vpg = await protection.vpgAt(site);
    for (const forgotten of vpg?.forgotten ?? []) {
      held.push(`${forgotten.kind} ${forgotten.operationId}`);
      try {
        const isInVain = protection.gatewayAt(site).lost;
        if (vpg !== undefined && (isInVain || !(await goOn(world, site, vpg, forgotten)))) {
          await declareOver(world, protection, site, vpg, forgotten);
        }
      } catch (error) {
        if (!(error instanceof Transient)) throw error;
      }
    }
  }
  return held.length === 0 ? undefined : held.join(" and ");
}

/** Of a move that closed its source, and of an operation whose last attempt has a report before it. */
async function goOn(
  { people }: World,
  site: SimSite,
  { vpgId }: VpgRecord,
  { operationId, kind, known }: Forgotten,
): Promise<boolean> {
  if (!known && kind !== "move") return false;
  const path = known ? `/operations/${operationId}/retry` : `/vpgs/${vpgId}/move-resume`;
  const { name } = await people.ask(site, "POST", path, {});
  return name !== "InvalidInput";
}

/** By hand, as the runbook says: what was not committed is stopped and taken away, what was is copied to local disks. */
async function declareOver(
  { people }: World,
  protection: Protection,
  site: SimSite,
  { role }: VpgRecord,
  { operationId }: Forgotten,
): Promise<void> {
  const gateway = protection.gatewayAt(site);
  const folder = gateway.recovered.folders.get(operationId);
  if (folder !== undefined && role !== "Journal") folder.promoted = true;
  if (folder !== undefined && role === "Journal" && !folder.detached) {
    gateway.kill();
    folder.vms.clear();
    folder.machine?.vms.running.clear();
    folder.detached = true;
    await gateway.start();
  }
  await people.ask(site, "POST", `/operations/${operationId}/forget`, {});
}
