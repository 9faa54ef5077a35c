import { join } from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { newId } from "#core/ids.ts";
import { extentKinds } from "#core/journal/batch.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { batchHash } from "#core/journal/hash.ts";
import { packExtents, type TappedExtents } from "#core/journal/pack.ts";
import type { Workflows } from "#core/ports.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { createToken } from "#core/protection/tokens.ts";
import { getVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";

const writeBytes = 4096;
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

/** Batches of 4 KiB writes at random places, chained, as a gateway would send them; the payload compresses well. */
export class RandomWrites {
  readonly #bench: BenchSite;
  readonly #blocks: number;
  #batch = 0;
  #hash = new Uint8Array(32);
  /** Of the last write made. */
  sequence = 0;
  /** Where the last batch wrote. */
  #offsets = new Float64Array(0);

  constructor(bench: BenchSite, sizeBytes: number) {
    this.#bench = bench;
    this.#blocks = sizeBytes / writeBytes;
  }

  get offsets(): Float64Array {
    return this.#offsets;
  }

  next(): { readonly batch: number; readonly body: Uint8Array } {
    const count = writesPerBatch;
    const { extents, payload } = this.#writes(count);
    const first = this.sequence + 1;
    this.sequence += count;
    const batch = this.#batch;
    const body = encodeBatch({
      vpgId: this.#bench.vpg.vpgId,
      term: this.#bench.session.term,
      session: this.#bench.session.session,
      batch,
      previousHash: this.#hash,
      configRevision: this.#bench.session.configRevision,
      firstSequence: first,
      lastSequence: this.sequence,
      sourceTimeFirst: Date.now(),
      sourceTimeLast: Date.now(),
      events: [],
      ...packExtents(extents, payload, "zstd1"),
    });
    this.#batch += 1;
    this.#hash = Uint8Array.from(batchHash(body));
    return { batch, body };
  }

  #writes(count: number): { readonly extents: TappedExtents; readonly payload: Uint8Array } {
    const payload = Buffer.alloc(count * writeBytes);
    // Different places within the batch, so that coalescing keeps every write and the history is as long as it says.
    const blocks = new Set<number>();
    while (blocks.size < count) blocks.add(Math.floor(Math.random() * this.#blocks));
    const offsets = Float64Array.from(blocks, (block) => block * writeBytes);
    for (let index = 0; index < count; index += 1) {
      payload.fill(1 + ((this.sequence + index) % 255), index * writeBytes, (index + 1) * writeBytes);
    }
    this.#offsets = offsets;
    const rising = (step: number): Uint32Array => Uint32Array.from({ length: count }, (_, index) => index * step);
    return {
      payload,
      extents: {
        count,
        kind: new Uint8Array(count).fill(extentKinds.write),
        volume: new Uint16Array(count).fill(this.#bench.volume),
        sequenceDelta: rising(1),
        offset: offsets,
        length: new Uint32Array(count).fill(writeBytes),
        payloadOffset: rising(writeBytes),
      },
    };
  }
}

/** Ingests `batches` batches of random writes; resolves with the places of the first batch. */
export async function writeHistory(bench: BenchSite, sizeBytes: number, batches: number): Promise<Float64Array> {
  const writes = new RandomWrites(bench, sizeBytes);
  const { vpgId } = bench.vpg;
  const { term, session } = bench.session;
  let first: Float64Array | undefined;
  for (let done = 0; done < batches; ) {
    const window = Array.from({ length: Math.min(16, batches - done) }, () => {
      const made = writes.next();
      first ??= writes.offsets;
      return made;
    });
    await Promise.all(
      window.map(({ batch, body }) =>
        ingestBatch(bench.site, bench.gateway, { vpgId, term, session, batch, body, ageMs: 0 }),
      ),
    );
    done += window.length;
  }
  return first ?? new Float64Array(0);
}
