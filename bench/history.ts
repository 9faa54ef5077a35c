import { join } from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { newId } from "#core/ids.ts";
import type { Clock, Workflows } from "#core/ports.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { createToken } from "#core/protection/tokens.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Retention } from "#core/retention/policy.ts";
import type { Caller, Site } from "#core/site.ts";
import { batchesInFlightMax } from "../gateway/limits.ts";
import { BatchMaker, type BatchShape } from "./batch-maker.ts";

/** A full batch of 4 KiB writes: 4 MiB. */
export const writesPerBatch = 1024;

/** An embedded site of this process with one VPG of one volume, and its gateway's session. */
export interface BenchSite {
  readonly site: Site;
  readonly vpg: VpgRecord;
  readonly gateway: Caller;
  readonly session: OpenSessionReply;
  readonly volume: number;
  close(): void;
}

export interface SiteOptions {
  /** The machine's by default. */
  readonly clock?: Clock;
  readonly retention?: Retention;
}

const operator: Caller = { name: "bench", role: "operator", gatewayId: null };

const noWorkflows: Workflows = {
  start: () => Promise.reject(new Error("this site runs no workflows")),
  describe: async () => undefined,
  stop: async () => undefined,
  succeed: async () => undefined,
  fail: async () => undefined,
  heartbeat: async () => undefined,
};

/** A site on files and SQLite in `folder`, as `farshore site serve` has it; several processes may have it open. */
export async function openSite(
  folder: string,
  clock: Clock = new SystemClock(),
): Promise<{ readonly site: Site; close(): void }> {
  const random = new SystemRandom();
  const table = new SqliteTable(join(folder, "table.sqlite"));
  const site: Site = {
    siteId: newId(clock, random),
    siteName: "bench",
    objects: await FileObjects.open(join(folder, "objects")),
    table,
    workflows: noWorkflows,
    clock,
    random,
    log: createLog({ level: "warn" }),
    notify: { publish: async () => undefined },
    peers: { ask: () => Promise.reject(new Error("no peers in this measurement")) },
  };
  return { site, close: () => table.close() };
}

/** The same with one VPG of one volume of `sizeBytes`, and a session of its gateway. */
export async function makeSite(folder: string, sizeBytes: number, options: SiteOptions = {}): Promise<BenchSite> {
  const { site, close } = await openSite(folder, options.clock);
  const { clock, random } = site;
  const { gatewayId } = await createToken(site, { name: "source", role: "gateway" }, operator);
  const gateway: Caller = { name: "source", role: "gateway", gatewayId };
  const disk = { name: "disk", sizeBytes, sectorBytes: 512 as const };
  const input = createVpgSchema.parse({
    name: "bench",
    protectedSite: "elsewhere",
    sourceGateway: "source",
    recoveryGateway: null,
    compute: "none",
    vms: [{ name: "vm", volumes: [disk] }],
    ...(options.retention && { retention: options.retention }),
  });
  const { vpgId } = await createVpg(site, input, operator);
  const session = await openSession(site, gateway, {
    vpgId,
    nonce: newId(clock, random),
    lastSession: 0,
    acknowledgedBatch: -1,
    cleanlyClosed: false,
    acceptRegression: false,
    volumes: [{ vmName: "vm", ...disk }],
  });
  const volume = session.volumes[0]?.volume ?? 1;
  return { site, vpg: await getVpg(site, vpgId), gateway, session, volume, close };
}

/** What a history is made of. */
export interface HistoryShape extends BatchShape {
  readonly volumeBytes: number;
  readonly batches: number;
}

/** Random writes of 4 KiB in full batches, all of one byte: some MB of journal a million of them, since what counts are places. */
export const fullBatches = { writes: writesPerBatch, writeBytes: 4096, payload: "equal" } as const;

/** How many places of a history are told: enough that random ones of them are places of all times. */
const placesTold = 4096;

/**
 * Ingests batches of random writes, sixteen at a time as a gateway does, and awaits `between` after each sixteen with their bytes.
 * Resolves with some of the places that were written, as many of each batch.
 */
export async function writeHistory(
  { site, vpg, gateway, session: opened, volume }: BenchSite,
  shape: HistoryShape,
  between: (batches: number, bytes: number) => Promise<void> = async () => undefined,
): Promise<readonly number[]> {
  const { vpgId } = vpg;
  const places: number[] = [];
  const { term, session, configRevision } = opened;
  const { volumeBytes, batches } = shape;
  const maker = new BatchMaker({ vpgId, term, session, configRevision, volume, volumeBytes }, shape, () =>
    site.clock.now(),
  );
  for (let done = 0; done < batches; ) {
    const window = Array.from({ length: Math.min(batchesInFlightMax, batches - done) }, () => {
      const made = maker.next();
      places.push(...maker.offsets.subarray(0, Math.ceil(placesTold / batches)));
      return made;
    });
    await Promise.all(
      window.map(({ batch, body }) => ingestBatch(site, gateway, { vpgId, term, session, batch, body, ageMs: 0 })),
    );
    await between(
      window.length,
      window.reduce((sum, { body }) => sum + body.length, 0),
    );
    done += window.length;
  }
  return places;
}
