import { closeSync, fsyncSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { compactJournal } from "#core/compaction/compact.ts";
import { compressFrame } from "#core/journal/frame.ts";
import { frameBytesMax } from "#core/journal/limits.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { collectJournal } from "#core/retention/collect.ts";
import { retainJournal } from "#core/retention/retain.ts";
import { AgedClock } from "./aged-clock.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { bytesIn, countedObjects, noTraffic, type Traffic } from "./counted-objects.ts";
import { Findings, type Metric } from "./findings.ts";
import { folderBytes } from "./folder-bytes.ts";
import { type BenchSite, makeSite, writeHistory } from "./history.ts";
import { agedBatches, agedBatchesQuick } from "./limits.ts";

const rate: Metric = { label: "journal it is for", unit: "MB/s", digits: 1 };
const own: Metric = { label: "bytes it read and wrote", unit: "MB/s", digits: 1 };
const written: Metric = { label: "written / ingested", unit: "", digits: 3 };
const read: Metric = { label: "read / ingested", unit: "", digits: 3 };
const requests: Metric = { label: "requests a batch", unit: "", digits: 2 };
const share: Metric = { label: "of the ingest's time", unit: "", digits: 2 };
const left: Metric = { label: "left of what was ingested", unit: "", digits: 2 };

const MiB = 2 ** 20;
const hour = 3_600_000;
const scenario = "a journal that ages";
const volumeBytes = 64 * MiB;
/** A MiB of random writes a minute, of which half compresses. */
export const agedShape = { writes: 256, writeBytes: 4096, payload: "half", markers: true, volumeBytes } as const;
const checkpointMs = 60_000;
export const agedRetention = {
  tiers: [
    { everyMs: 0, forMs: hour },
    { everyMs: hour, forMs: 30 * 24 * hour },
  ],
  taggedMs: 30 * 24 * hour,
};

/** A job of the site's timers, with what it took so far. */
interface Job {
  readonly name: string;
  readonly traffic: Traffic;
  seconds: number;
  run(made: BenchSite): Promise<unknown>;
}

const makeJobs = (): readonly Job[] => {
  const job = (name: string, run: Job["run"]): Job => ({ name, run, traffic: noTraffic(), seconds: 0 });
  return [
    job("compaction (layers)", ({ site, vpg }) => compactJournal(site, vpg.vpgId)),
    job("ageing (thinning, packs)", async ({ site, vpg }) => retainJournal(site, await getVpg(site, vpg.vpgId))),
    job("collection", async ({ site, vpg }) => collectJournal(site, await getVpg(site, vpg.vpgId))),
  ];
};

export const compaction: Bench = {
  name: "compaction",
  what: "compaction, thinning, packs and collection of a journal that ages: MB/s, bytes written for each that was ingested, and requests; beside reading and writing the same bytes, and zstd in memory",
  needs: [],
  async run(context) {
    const findings = new Findings();
    for (let round = 0; round < context.rounds; round += 1) await measureRound(context, findings, round);
    findings.remark(
      "A MiB of random 4 KiB writes to 64 MiB and a checkpoint a minute, half of every write compresses; every checkpoint is kept for an",
      "hour and one an hour after that. The jobs run after each sixteen batches, as the site's timers run them, on files and SQLite, and",
      "every object is fsynced. Compaction reads headers and writes places; ageing reads what it packs and writes what is seen of it.",
      "`journal it is for`: bytes ingested in the time that the job took of it. The limits read and write the job's own bytes, no more.",
    );
    return findings;
  },
};

async function measureRound(context: BenchContext, findings: Findings, round: number): Promise<void> {
  const folder = mkdtempSync(join(context.diskFolder, "aged-"));
  const clock = new AgedClock();
  const made = await makeSite(folder, volumeBytes, { clock, retention: agedRetention });
  const jobs = makeJobs();
  const batches = context.quick ? agedBatchesQuick : agedBatches;
  let [ingested, jobSeconds] = [0, 0];
  const started = performance.now();
  try {
    const turn = async (count: number, bytes: number): Promise<void> => {
      ingested += bytes;
      clock.advance(count * checkpointMs);
      for (const job of jobs) {
        const began = performance.now();
        const { site } = made;
        await job.run({ ...made, site: { ...site, objects: countedObjects(site.objects, job.traffic) } });
        const seconds = (performance.now() - began) / 1000;
        job.seconds += seconds;
        jobSeconds += seconds;
      }
    };
    await writeHistory(made, { ...agedShape, batches }, turn);
    const ingestSeconds = (performance.now() - started) / 1000 - jobSeconds;
    const stored = folderBytes(join(folder, "objects"));
    context.say(
      `round ${round + 1}: ${Math.round(ingested / 1e6)} MB in ${batches} batches, ${Math.round(stored / 1e6)} MB left`,
    );
    for (const { name, traffic, seconds } of jobs) {
      const [got, put] = [bytesIn(traffic.got), bytesIn(traffic.put)];
      const { puts, gets, lists, deleted } = traffic;
      findings.add(scenario, name, rate, ingested / 1e6 / seconds);
      findings.add(scenario, name, own, (got + put) / 1e6 / seconds);
      findings.add(scenario, name, written, put / ingested);
      findings.add(scenario, name, read, got / ingested);
      findings.add(scenario, name, requests, (puts + gets + lists + Math.ceil(deleted / 1000)) / batches);
      findings.add(scenario, name, share, seconds / ingestSeconds);
      if (got + put === 0) continue;
      const plain = copied(folder, got, put);
      findings.add(scenario, `${name}: the same bytes, plainly`, own, (got + put) / 1e6 / plain);
    }
    const all = jobs.map(({ traffic }) => bytesIn(traffic.put)).reduce((sum, bytes) => sum + bytes, 0);
    findings.add(scenario, "all of them", written, all / ingested);
    findings.add(scenario, "all of them", left, stored / ingested);
    findings.add(scenario, "zstd 1 in memory, one thread", rate, compressed());
  } finally {
    made.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds to write so many bytes into a file, fsynced, and to read so many of it: no program that moves them is faster here. */
function copied(folder: string, readBytes: number, writtenBytes: number): number {
  const file = join(folder, "plain");
  const piece = Buffer.alloc(MiB, 0x5a);
  const fd = openSync(file, "w+");
  try {
    for (let at = 0; at < readBytes - writtenBytes; at += piece.length)
      writeSync(fd, piece, 0, piece.length, writtenBytes + at);
    fsyncSync(fd);
    const started = performance.now();
    for (let at = 0; at < writtenBytes; at += piece.length)
      writeSync(fd, piece, 0, Math.min(piece.length, writtenBytes - at), at);
    fsyncSync(fd);
    for (let at = 0; at < readBytes; at += piece.length)
      readSync(fd, piece, 0, Math.min(piece.length, readBytes - at), at);
    return (performance.now() - started) / 1000;
  } finally {
    closeSync(fd);
    rmSync(file);
  }
}

/** MB of raw frames a second. */
function compressed(): number {
  const raw = Buffer.alloc(frameBytesMax, 0x5a);
  for (let at = 0; at < raw.length; at += 4096)
    for (let byte = 0; byte < 2048; byte += 1) raw[at + byte] = Math.random() * 256;
  const room = Buffer.alloc(2 * frameBytesMax);
  const frames = 400;
  const started = performance.now();
  for (let frame = 0; frame < frames; frame += 1) compressFrame(raw, "zstd1", room);
  return (frames * raw.length) / 1e6 / ((performance.now() - started) / 1000);
}
