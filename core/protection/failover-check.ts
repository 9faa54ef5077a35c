import type { z } from "zod";
import type { failoverCheckSchema } from "#core/api/site-api.ts";
import { FarshoreError, NoCheckpoint } from "#core/errors.ts";
import { readScrub } from "#core/scrub/record.ts";
import type { Site } from "#core/site.ts";
import { type CheckLine, hooksLine, line, notGraceful, spaceLine } from "./check-means.ts";
import type { ListedCheckpoint } from "./checkpoint-row.ts";
import { resolveCheckpoint } from "./checkpoints.ts";
import { sourceGatewaysOf, vmsOfGateway } from "./definition.ts";
import { definitionOfCheckpoint } from "./definition-at.ts";
import { forgottenText } from "./forgotten.ts";
import { findGateway, isConnected } from "./gateway-store.ts";
import { findPhase } from "./operation-phase.ts";
import { assertTableCurrent } from "./terms.ts";
import type { VpgRecord } from "./vpg-record.ts";
import { checkpointView } from "./vpg-view.ts";

export type FailoverCheck = z.infer<typeof failoverCheckSchema>;

/** What a live failover would find now: nothing is changed. Ready when no line is blocked. */
export async function failoverCheck(site: Site, vpg: VpgRecord): Promise<FailoverCheck> {
  return checkWith(site, vpg, await sourceLines(site, vpg), { haveAllVolumes: false });
}

/** The lines that every operation has which brings a VPG up, with its own about the source. */
export async function checkWith(
  site: Site,
  vpg: VpgRecord,
  sources: readonly CheckLine[],
  must: { readonly haveAllVolumes: boolean },
): Promise<FailoverCheck> {
  const checkpoint = await newestOf(site, vpg);
  const items = [
    roleLine(vpg),
    checkpointLine(site, checkpoint),
    ...(await volumesLine(site, vpg, checkpoint, must)),
    ...(await damageLine(site, vpg)),
    ...sources,
    ...(await computeLines(site, vpg)),
    await operationLine(site, vpg),
    await tableLine(site, vpg),
  ];
  return {
    ready: items.every(({ state }) => state !== "blocked"),
    items,
    checkpoint: checkpoint === undefined ? null : checkpointView(checkpoint),
  };
}

/** There while the scrub knows of objects that are not as they were stored. */
async function damageLine(site: Site, { vpgId, definition }: VpgRecord): Promise<readonly CheckLine[]> {
  const { findings, more } = (await readScrub(site, vpgId)).record;
  if (findings.length === 0) return [];
  const detail =
    `damaged objects: ${findings.length + more}; a checkpoint that needs one can't be recovered whole, and its volumes fail where ` +
    `they show it: farshore scrub show ${definition.name} names them, a failover test or farshore view write tries a checkpoint`;
  return [line("journal", "warning", detail)];
}

/** There when the newest checkpoint is of before an edit of the volumes. */
async function volumesLine(
  site: Site,
  { definition }: VpgRecord,
  checkpoint: ListedCheckpoint | undefined,
  must: { readonly haveAllVolumes: boolean },
): Promise<readonly CheckLine[]> {
  if (checkpoint === undefined) return [];
  if ((await definitionOfCheckpoint(site, definition, checkpoint.id)) === definition) return [];
  const detail = `the newest checkpoint has the volumes of before an edit; farshore vpg show ${definition.name} says what the new ones wait for`;
  return [line("volumes", must.haveAllVolumes ? "blocked" : "warning", detail)];
}

async function newestOf(site: Site, vpg: VpgRecord): Promise<ListedCheckpoint | undefined> {
  try {
    return await resolveCheckpoint(site, vpg.vpgId, { kind: "latest" });
  } catch (error) {
    if (error instanceof NoCheckpoint) return undefined;
    throw error;
  }
}

function roleLine({ role, definition }: VpgRecord): CheckLine {
  if (role === "Journal") return line("protection", "ok", `${definition.name} is protected at this site`);
  return line(
    "protection",
    "blocked",
    `${definition.name} is not protected here (role ${role}): it was failed over already`,
  );
}

function checkpointLine(site: Site, checkpoint: ListedCheckpoint | undefined): CheckLine {
  if (checkpoint === undefined) {
    return line("checkpoint", "blocked", "none is listed yet; wait until the first sync has ended");
  }
  const ageS = Math.max(0, site.clock.now() - checkpoint.validThrough) / 1000;
  const detail = `newest is ${checkpoint.id} of ${new Date(checkpoint.time).toISOString()}, ${ageS.toFixed(1)} s old`;
  return line("checkpoint", "ok", detail);
}

function sourceLines(site: Site, { definition }: VpgRecord): Promise<readonly CheckLine[]> {
  return Promise.all(
    sourceGatewaysOf(definition).map(async ({ gatewayId, name }) => {
      const gateway = await findGateway(site, gatewayId);
      if (!isConnected(gateway, site.clock.now())) {
        return line(
          "source",
          "warning",
          `gateway ${name} is silent: --shutdown graceful would fail; none and force go on without it, ` +
            "and how much was lost stays unknown",
        );
      }
      const without = gateway.means === null ? [] : notGraceful(vmsOfGateway(definition, gatewayId), gateway.means);
      if (without.length === 0)
        return line("source", "ok", `gateway ${name} is connected; its VMs can be asked to shut down`);
      return line(
        "source",
        "warning",
        `gateway ${name} is connected; --shutdown graceful would fail: no shutdown and status hooks for ${without.join(", ")}`,
      );
    }),
  );
}

async function computeLines(site: Site, { definition }: VpgRecord): Promise<readonly CheckLine[]> {
  const { compute, recoveryGatewayId, recoveryGatewayName, vms } = definition;
  if (compute === "none" || recoveryGatewayId === null) {
    return [
      line(
        "compute",
        "blocked",
        'compute is "none": a failover is refused; farshore view export still reaches the data',
      ),
    ];
  }
  const gateway = await findGateway(site, recoveryGatewayId);
  const name = recoveryGatewayName ?? recoveryGatewayId;
  const means = gateway?.means ?? null;
  return [
    isConnected(gateway, site.clock.now())
      ? line("compute", "ok", `gateway ${name} is connected and will export the recovered volumes`)
      : line("compute", "blocked", `gateway ${name} is silent; start it: farshore gateway run`),
    hooksLine(name, vms, means),
    spaceLine(name, vms, means),
  ];
}

async function operationLine(site: Site, vpg: VpgRecord): Promise<CheckLine> {
  const { operationId, openTests } = vpg;
  if (operationId !== null) {
    const phase = (await findPhase(site, operationId))?.phase ?? "unknown";
    return line(
      "operation",
      "blocked",
      `operation ${operationId} is under way (${phase}); farshore operation show ${operationId}`,
    );
  }
  const [forgotten] = vpg.forgotten;
  if (forgotten !== undefined) return line("operation", "blocked", forgottenText(vpg, forgotten));
  const tests = openTests.length === 0 ? "none is open" : `${openTests.length} tests run and are not disturbed`;
  return line("operation", "ok", tests);
}

async function tableLine(site: Site, vpg: VpgRecord): Promise<CheckLine> {
  try {
    await assertTableCurrent(site, vpg);
    return line("table", "ok", "the table is as new as the bucket");
  } catch (error) {
    // What is wrong is this line's to say; trouble that may pass is thrown on.
    if (!(error instanceof FarshoreError) || error.kind === "retryable") throw error;
    return line("table", "blocked", error.message);
  }
}
