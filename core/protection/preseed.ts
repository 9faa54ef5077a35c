import type { PreseedAsk } from "#core/api/site-api.ts";
import { ComputeNotConfigured, InvalidInput, NotFound, ProtectionBegan } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { tableFields } from "#core/json.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { equalValues } from "#core/table-rules.ts";
import type { CommandBody } from "./command.ts";
import { issueCommand, queuedCommands } from "./commands.ts";
import { isSourceGateway, sourceGatewaysOf, volumesOf } from "./definition.ts";
import { lastSessionOf, type VpgRecord } from "./vpg-record.ts";
import { getVpg } from "./vpg-store.ts";

type PreseedBody = Extract<CommandBody, { kind: "preseed-volumes" }>;

/**
 * Orders a VPG's recovery gateway to bring copies of its disks into the journal before protection begins, so that the first sync is a
 * delta. The copies are never taken to be equal to anything: the source's disks are compared with what the journal then holds.
 * Answers the command; the same request again is the same one, and so is any for the same copies until it has ended. Throws
 * `NotFound` (VPG or volume), `ComputeNotConfigured`, `ProtectionBegan`, `InvalidInput`.
 */
export async function startPreseed(
  site: Site,
  caller: Caller,
  ref: string,
  ask: PreseedAsk,
): Promise<{ readonly commandId: string }> {
  const vpg = await getVpg(site, ref);
  const { vpgId, term, definition } = vpg;
  const { name: vpgName, recoveryGatewayId } = definition;
  if (recoveryGatewayId === null) {
    throw new ComputeNotConfigured(`${vpgName} has no recovery gateway that could read the copies`, { vpgId });
  }
  if (isSourceGateway(definition, recoveryGatewayId)) {
    throw new InvalidInput(`${vpgName} is captured by its recovery gateway: there is no way between sites to save`);
  }
  assertMayPreseed(vpg);
  const commandId = `${ask.requestId}.preseed`;
  const body: PreseedBody = { kind: "preseed-volumes", vpgId, vpgName, term, volumes: volumesAsked(vpg, ask) };
  const open = await openLike(site, recoveryGatewayId, body);
  if (open !== undefined) return { commandId: open };
  await issueCommand(site, recoveryGatewayId, { commandId, body, initiatedBy: callerText(caller) });
  return { commandId };
}

/** The command that brings these very copies already: somebody who asks again waits for it. */
async function openLike(site: Site, gatewayId: Id, body: PreseedBody): Promise<string | undefined> {
  const wanted = tableFields(body);
  const same = (await queuedCommands(site, gatewayId)).find(
    ({ state, command }) =>
      (state === "pending" || state === "running") && equalValues(tableFields(command.body), wanted),
  );
  return same?.command.commandId;
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
