import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import type { Id } from "#core/ids.ts";
import { pendingCommands, reportCommand } from "#core/protection/commands.ts";
import type { OperationKind } from "#core/protection/operation.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { decide } from "#core/recovery/decide.ts";
import { executionName, findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { startOperation } from "#core/recovery/start-operation.ts";
import type { Site } from "#core/site.ts";
import { invokeTask, machines } from "../../cli/site/machines.ts";
import { type Durable, siteOf } from "./failover-site.ts";
import { operationId } from "./failover-world.ts";
import { SeededRandom } from "./seeded-random.ts";
import { operator, silentLog } from "./site.ts";

/** The smallest VPG that passes every state of a committed failover. */
export const smallShop: CreateVpg = createVpgSchema.parse({
  name: "shop",
  protectedSite: "berlin",
  sourceGateway: "gw-berlin",
  recoveryGateway: "gw-recovery",
  compute: "gateway",
  vms: [{ name: "db", volumes: [{ name: "data", sizeBytes: 2 ** 24 }] }],
});

/** The bucket and the table of a folder, on real files. */
export async function openFolder(folder: string): Promise<Durable & { readonly table: SqliteTable }> {
  const objects = await FileObjects.open(join(folder, "objects"));
  return { objects, table: new SqliteTable(join(folder, "table.sqlite")), clock: new SystemClock() };
}

export const effectsFile = (folder: string): string => join(folder, "effects");

/** The commands that were carried out, in order; a line each, written before the report. */
export const effectsIn = (folder: string): readonly string[] =>
  readFileSync(effectsFile(folder), "utf8").split("\n").slice(0, -1);

const asks = {
  "failover-live": {
    kind: "failover-live",
    options: {
      checkpoint: { kind: "latest" },
      shutdown: { policy: "none", graceMs: 0 },
      commitPolicy: { action: "commit", afterMs: 0 },
    },
  },
  "failover-test": { kind: "failover-test", options: { checkpoint: { kind: "latest" } } },
} as const;

interface MortalSite {
  readonly site: Site;
  /** Whether the operation has ended, and its execution with it. */
  readonly isOver: () => Promise<boolean>;
  readonly close: () => Promise<void>;
}

/** The site of a folder, on real files and the real clock, whose process kills itself with SIGKILL right after so many events. */
export async function mortalSite(folder: string, eventsMax: number): Promise<MortalSite> {
  const durable = await openFolder(folder);
  let events = 0;
  const workflows: EmbeddedWorkflows = new EmbeddedWorkflows({
    file: join(folder, "workflows.sqlite"),
    clock: durable.clock,
    random: new SeededRandom(process.pid),
    log: silentLog,
    machines,
    invoke: (name, payload) => invokeTask(site, name, payload),
    onTransition: () => {
      events += 1;
      if (events === eventsMax) process.kill(process.pid, "SIGKILL");
    },
  });
  const site: Site = { ...siteOf(durable), workflows };
  await workflows.resume();
  return {
    site,
    isOver: async () => {
      const operation = await findOperation(site, operationId);
      if (operation === undefined || !hasEnded(operation)) return false;
      const execution = await workflows.describe(operation.kind, executionName(operation));
      return execution?.status !== "RUNNING";
    },
    close: async () => {
      await workflows.close();
      durable.table.close();
    },
  };
}

/**
 * Run as a process: `node die-in-a-failover.ts FOLDER KIND N` is a site and a gateway on real files and the real clock, which kills
 * itself with SIGKILL right after the N-th event of its life. Exits when the operation has ended; a test is stopped once it runs.
 */
async function live(
  folder: string,
  kind: Extract<OperationKind, "failover-live" | "failover-test">,
  eventsMax: number,
): Promise<void> {
  const { site, isOver, close } = await mortalSite(folder, eventsMax);
  const vpg = await getVpg(site, smallShop.name);
  const { recoveryGatewayId } = vpg.definition;
  await startOperation(site, operator, vpg, { ...asks[kind], requestId: operationId });
  while (!(await isOver())) {
    if ((await findOperation(site, operationId))?.phase === "TestRunning") {
      await decide(site, operator, operationId, { decision: "stop", success: true });
    }
    if (recoveryGatewayId !== null) await serve(site, recoveryGatewayId, folder);
    await sleep(2);
  }
  await close();
}

/** A gateway's heartbeat: what was done before the last death is not done again, only reported. */
async function serve(site: Site, gatewayId: Id, folder: string): Promise<void> {
  for (const { commandId } of await pendingCommands(site, gatewayId)) {
    if (!effectsIn(folder).includes(commandId)) appendFileSync(effectsFile(folder), `${commandId}\n`);
    const result = { exports: { "1": "nbd+unix:///data?socket=/s" }, booted: ["db"], withoutHook: [], bytes: 0 };
    await reportCommand(site, { name: "gw", role: "gateway", gatewayId }, commandId, { state: "done", result });
  }
}

if (import.meta.main) {
  const [folder = "", kind, eventsMax = "0"] = process.argv.slice(2);
  await live(folder, z.enum(["failover-live", "failover-test"]).parse(kind), Number(eventsMax));
}
