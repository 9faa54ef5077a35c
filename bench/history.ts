import { join } from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { newId } from "#core/ids.ts";
import type { Workflows } from "#core/ports.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { createToken } from "#core/protection/tokens.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { batchesInFlightMax } from "../gateway/limits.ts";
import { BatchMaker } from "./batch-maker.ts";

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

const operator: Caller = { name: "bench", role: "operator", gatewayId: null };

const noWorkflows: Workflows = {
  start: () => Promise.reject(new Error("this site runs no workflows")),
  describe: async () => undefined,
  stop: async () => undefined,
  succeed: async () => undefined,
  fail: async () => undefined,
  heartbeat: async () => undefined,
};

/** A site on files and SQLite in `folder`, as `farshore site serve` has it, with a volume of `sizeBytes`. */
export async function makeSite(folder: string, sizeBytes: number): Promise<BenchSite> {
  const clock = new SystemClock();
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
  return { site, vpg: await getVpg(site, vpgId), gateway, session, volume, close: () => table.close() };
}

/** Ingests `batches` batches of random writes, `between` after each sixteen; resolves with the places of the first batch. */
export async function writeHistory(
  bench: BenchSite,
  volumeBytes: number,
  batches: number,
  between: () => Promise<void> = async () => undefined,
): Promise<Float64Array> {
  const { vpgId } = bench.vpg;
  const { term, session, configRevision } = bench.session;
  const opened = { vpgId, term, session, configRevision, volume: bench.volume, volumeBytes };
  const maker = new BatchMaker(opened, { writes: writesPerBatch, writeBytes: 4096, payload: "equal" });
  let first: Float64Array | undefined;
  for (let done = 0; done < batches; ) {
    const window = Array.from({ length: Math.min(batchesInFlightMax, batches - done) }, () => {
      const made = maker.next();
      first ??= maker.offsets;
      return made;
    });
    await Promise.all(
      window.map(({ batch, body }) =>
        ingestBatch(bench.site, bench.gateway, { vpgId, term, session, batch, body, ageMs: 0 }),
      ),
    );
    await between();
    done += window.length;
  }
  return first ?? new Float64Array(0);
}
