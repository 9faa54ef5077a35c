import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { SiteClient } from "../gateway/control/site-client.ts";
import { batchesInFlightMax } from "../gateway/limits.ts";
import { BatchMaker, type BatchShape, type MadeBatch, type OpenedSession } from "./batch-maker.ts";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { Findings, type Metric } from "./findings.ts";
import { ingestBytes, ingestSmallBatches } from "./limits.ts";
import { openLoad } from "./load.ts";
import { Running } from "./programs.ts";
import { countRequests } from "./requests.ts";
import { BenchStage } from "./stage.ts";

const batchRate: Metric = { label: "batches", unit: "/s" };
const rate: Metric = { label: "throughput", unit: "MB/s" };
const cpu: Metric = { label: "CPU of the process", unit: "ms a batch", digits: 2 };

const KiB = 2 ** 10;
const shapes: readonly (BatchShape & { readonly name: string; readonly count: number })[] = [
  {
    name: "4 MiB batches, 16 in flight",
    writes: 1024,
    writeBytes: 4 * KiB,
    payload: "random",
    count: ingestBytes / (4096 * KiB),
  },
  {
    name: "batches of one 4 KiB write, 16 in flight",
    writes: 1,
    writeBytes: 4 * KiB,
    payload: "random",
    count: ingestSmallBatches,
  },
];

/** Something that takes batches. */
interface Taker {
  readonly name: string;
  /** Undefined when it works in this process, where the load is made too. */
  readonly pid: number | undefined;
  take(made: MadeBatch): Promise<unknown>;
}

export const ingest: Bench = {
  name: "ingest",
  what: "batches a second and MB/s into the embedded site, beside HTTP that throws them away and files that are only made durable; requests a batch",
  needs: [],
  async run(context) {
    const findings = new Findings();
    const directory = mkdtempSync(join(context.diskFolder, "stage-"));
    const stage = await BenchStage.set(directory, {
      volumes: [{ name: "disk", bytes: 2 ** 26 }],
      checkpointInterval: "5s",
    });
    try {
      for (const shape of shapes) await measureShape(context, findings, stage, shape);
      await countRequests(context, findings, stage);
    } finally {
      await stage.stop();
    }
    findings.remark(
      "A batch costs the site one PUT, one hash of its bytes (sha256, about 1.3 GB/s a thread), one object made durable before its name",
      "shows (write, fsync, link, fsync of the folder) and one SQLite transaction; transactions of one turn of the event loop share a commit.",
      "The load is made and sent by another process on the same cores.",
    );
    return findings;
  },
};

async function measureShape(
  context: BenchContext,
  findings: Findings,
  stage: BenchStage,
  shape: (typeof shapes)[number],
): Promise<void> {
  const opened = await openLoad(stage, `load-${shape.writes}`);
  const maker = new BatchMaker(opened.session, shape);
  const folder = mkdtempSync(join(context.diskFolder, "files-"));
  const discard = await discardServer(folder);
  const address = { url: opened.url, access: { kind: "token", token: opened.token } } as const;
  const clients = [
    new SiteClient(address, batchesInFlightMax),
    new SiteClient({ ...address, url: discard.url }, batchesInFlightMax),
  ];
  const [toSite, toNowhere] = clients;
  const put =
    (client: SiteClient | undefined) =>
    async (made: MadeBatch): Promise<void> =>
      void (await client?.putBatch({ ...opened.session, batch: made.batch }, made.body, 0));
  const site: Taker = { name: "embedded site", pid: stage.processes.pid("site-berlin"), take: put(toSite) };
  const takers: readonly Taker[] = [
    site,
    { name: "HTTP that discards (limit)", pid: discard.server.pid, take: put(toNowhere) },
    {
      name: "files, fsync each (limit)",
      pid: undefined,
      take: ({ batch, body }) => writeFile(join(folder, String(batch)), body),
    },
  ];
  try {
    await interleaved(context.rounds, takers, async (taker, round) => {
      context.say(`${shape.name}: ${taker.name}, round ${round + 1}`);
      // Made before the clock runs; only the site needs each to follow the one before.
      const count = context.quick ? Math.ceil(shape.count / 8) : shape.count;
      const made =
        taker === site ? Array.from({ length: count }, () => maker.next()) : loose(opened.session, shape, round, count);
      const cpuBefore = taker.pid === undefined ? Number.NaN : cpuSecondsOf(taker.pid);
      const started = performance.now();
      await inFlight(made, batchesInFlightMax, (each) => taker.take(each));
      const seconds = (performance.now() - started) / 1000;
      findings.add(shape.name, taker.name, batchRate, count / seconds);
      findings.add(shape.name, taker.name, rate, made.reduce((sum, each) => sum + each.body.length, 0) / 1e6 / seconds);
      if (taker.pid !== undefined)
        findings.add(shape.name, taker.name, cpu, ((cpuSecondsOf(taker.pid) - cpuBefore) * 1000) / count);
    });
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await discard.server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  for (const limit of takers.slice(1)) findings.ratio(shape.name, rate, "embedded site", limit.name);
}

/** Batches of the same shape that nobody chains; their numbers differ from round to round, so that files are new. */
function loose(session: OpenedSession, shape: BatchShape, round: number, count: number): MadeBatch[] {
  const { body } = new BatchMaker(session, shape).next();
  return Array.from({ length: count }, (_, index) => ({ batch: round * count + index, body }));
}

/** Calls `take` for all, `most` at a time. */
async function inFlight<T>(items: readonly T[], most: number, take: (item: T) => Promise<unknown>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await take(item);
  };
  await Promise.all(Array.from({ length: most }, worker));
}

/** What any durable store on this file system pays at least. */
async function writeFile(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, "wx");
  try {
    await handle.write(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function discardServer(folder: string): Promise<{ readonly server: Running; readonly url: string }> {
  const file = join(folder, "port");
  const server = new Running(process.execPath, [new URL("./discard-server.ts", import.meta.url).pathname, file]);
  await server.until(() => existsSync(file));
  return { server, url: `http://127.0.0.1:${readFileSync(file, "utf8")}` };
}
