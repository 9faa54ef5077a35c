import type { PreseedAsk } from "#core/api/site-api.ts";
import {
  CommandFailed,
  ComputeNotConfigured,
  InvalidInput,
  LimitExceeded,
  NotFound,
  ProtectionBegan,
} from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { tableFields } from "#core/json.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { equalValues } from "#core/table-rules.ts";
import type { CommandBody } from "./command.ts";
import { type CommandRecord, cancelCommand, isOpen, issueCommand, queuedCommands } from "./commands.ts";
import { isSourceGateway, sourceGatewaysOf, volumesOf } from "./definition.ts";
import { protectionLimits as limits } from "./limits.ts";
import { lastSessionOf, type VpgRecord } from "./vpg-record.ts";
import { getVpg } from "./vpg-store.ts";

type PreseedBody = Extract<CommandBody, { kind: "preseed-volumes" }>;

/**
 * Orders a VPG's recovery gateway to bring copies of its disks into the journal before protection begins, so that the first sync is a
 * delta. The copies are never taken to be equal to anything: the source's disks are compared with what the journal then holds.
 * Answers the command; the same request again is the same one, and so is any for the same copies until it has ended. Throws
 * `NotFound` (VPG or volume), `ComputeNotConfigured`, `ProtectionBegan`, `InvalidInput`, `LimitExceeded` while too many wait.
 */
export async function startPreseed(
  site: Site,
  caller: Caller,
  ref: string,
  ask: PreseedAsk,
): Promise<{ readonly commandId: string }> {
  const vpg = await getVpg(site, ref);
  const { vpgId, term, definition } = vpg;
  const { name: vpgName, recoveryGatewayId, recoveryGatewayName } = definition;
  if (recoveryGatewayId === null) {
    throw new ComputeNotConfigured(`${vpgName} has no recovery gateway that could read the copies`, { vpgId });
  }
  if (isSourceGateway(definition, recoveryGatewayId)) {
    throw new InvalidInput(`${vpgName} is captured by its recovery gateway: there is no way between sites to save`);
  }
  assertMayPreseed(vpg);
  const commandId = `${ask.requestId}.preseed`;
  const body: PreseedBody = { kind: "preseed-volumes", vpgId, vpgName, term, volumes: volumesAsked(vpg, ask) };
  const queued = await openPreseeds(site, recoveryGatewayId);
  const wanted = tableFields(body);
  const same = queued.find(({ command }) => equalValues(tableFields(command.body), wanted));
  if (same !== undefined) return { commandId: same.command.commandId };
  if (queued.length >= limits.preseedsQueuedMax) {
    throw new LimitExceeded(
      `${queued.length} preseeds wait for gateway ${recoveryGatewayName ?? recoveryGatewayId} already, which is the most: wait for ` +
        "one to end, or cancel one (farshore vpg preseed VPG --cancel)",
      { limit: limits.preseedsQueuedMax },
    );
  }
  const expiresInMs = limits.preseedExpiryMs;
  await issueCommand(site, recoveryGatewayId, { commandId, body, expiresInMs, initiatedBy: callerText(caller) });
  return { commandId };
}

/**
 * Ends all preseeds of a VPG that have not ended; what they brought by then stays in the journal, and is used. Answers their commands.
 * Throws `NotFound`.
 */
export async function cancelPreseeds(
  site: Site,
  caller: Caller,
  ref: string,
): Promise<{ readonly commandIds: readonly string[] }> {
  const { vpgId, definition } = await getVpg(site, ref);
  const { name, recoveryGatewayId } = definition;
  const queued = recoveryGatewayId === null ? [] : await openPreseeds(site, recoveryGatewayId);
  const own = queued.filter(({ command: { body } }) => body.kind === "preseed-volumes" && body.vpgId === vpgId);
  const error = { name: CommandFailed.name, message: `the preseed of ${name} was cancelled by ${callerText(caller)}` };
  for (const record of own) await cancelCommand(site, record, error);
  return { commandIds: own.map(({ command }) => command.commandId) };
}

async function openPreseeds(site: Site, gatewayId: Id): Promise<readonly CommandRecord[]> {
  const queued = await queuedCommands(site, gatewayId);
  return queued.filter((record) => record.command.body.kind === "preseed-volumes" && isOpen(record));
}

/** Throws `ProtectionBegan` once a source gateway has had a session: what it captures is newer than any copy. */
export function assertMayPreseed(vpg: VpgRecord): void {
  const { name } = vpg.definition;
  if (vpg.role !== "Journal") throw new InvalidInput(`${name} is not protected at this site`, { role: vpg.role });
  const began = sourceGatewaysOf(vpg.definition).find(({ gatewayId }) => lastSessionOf(vpg, gatewayId) > 0);
  if (began === undefined) return;
  throw new ProtectionBegan(
    `gateway ${began.name} has begun to protect ${name}, and its sync sends what the journal lacks. To preseed: stop that ` +
      `gateway, farshore vpg delete ${name}, create it again, preseed it, then start the gateway`,
    { vpgId: vpg.vpgId },
  );
}

function volumesAsked({ definition }: VpgRecord, { volumes }: PreseedAsk): PreseedBody["volumes"] {
  const seen = new Set<number>();
  return volumes.map(({ vmName, name, path }) => {
    const found = volumesOf(definition).find((volume) => volume.vmName === vmName && volume.name === name);
    if (found === undefined) throw new NotFound(`${definition.name} has no volume ${vmName}/${name}`);
    if (seen.has(found.volume)) throw new InvalidInput(`${vmName}/${name} is named twice`, { field: "volumes" });
    seen.add(found.volume);
    const { volume, sizeBytes, sectorBytes } = found;
    return { volume, vmName, name, sizeBytes, sectorBytes, path };
  });
}
