import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { compactJournal } from "#core/compaction/compact.ts";
import { AgedClock } from "./aged-clock.ts";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { Findings, type Metric, spreadOf } from "./findings.ts";
import { folderBytes } from "./folder-bytes.ts";
import { type BenchSite, fullBatches, makeSite, writeHistory, writesPerBatch } from "./history.ts";
import { viewOpenings, viewOpeningsQuick } from "./limits.ts";
import { run } from "./programs.ts";

const first: Metric = { label: "open + first read, first of a process", unit: "ms", digits: 1 };
const opening: Metric = { label: "open + first read of 4 KiB, p50", unit: "ms", digits: 1 };
const slowest: Metric = { label: "the same, p99", unit: "ms", digits: 1 };
const readAgain: Metric = { label: "next read in the page, p50", unit: "ms", digits: 2 };
const cpu: Metric = { label: "CPU for opening and reading", unit: "ms", digits: 1 };
const requests: Metric = { label: "requests to the site", unit: "", digits: 1 };
const memory: Metric = { label: "most memory of the reading process", unit: "MiB" };

const GiB = 2 ** 30;
const volumes = [
  { name: "1 GiB", bytes: GiB },
  { name: "1 TiB", bytes: 1024 * GiB },
] as const;
/** Full batches of 1024 writes that come nearest. */
export const histories = [
  { name: "10^3 writes", batches: 1 },
  { name: "10^4 writes", batches: 10 },
  { name: "10^5 writes", batches: 98 },
  { name: "10^6 writes", batches: 977 },
  { name: "10^7 writes", batches: 9766 },
] as const;

type Volume = (typeof volumes)[number];
export type History = (typeof histories)[number];

/** A batch is what a checkpoint interval of 5 s brings: what compaction replaced is deleted after an hour of them. */
const checkpointMs = 5000;

const scenario = "opening a view";
const subjectOf = (volume: Volume, history: History): string => `${volume.name}, ${history.name}`;

/** A journal, and which of its checkpoints is opened. */
interface Subject {
  readonly name: string;
  readonly folder: string;
  readonly volume: Volume;
  readonly made: BenchSite;
  readonly sequence: number;
}

export const viewOpen: Bench = {
  name: "view-open",
  what: "opening a view of a checkpoint and reading 4 KiB of it, by the journal's length (random 4 KiB writes) and the volume's size",
  needs: [],
  async run(context) {
    const findings = new Findings();
    const chosen = context.quick ? histories.slice(0, 3) : histories;
    for (const volume of volumes) await measureVolume(context, findings, volume, chosen);
    const [small, large] = volumes;
    const [shortest, ...longer] = chosen;
    for (const history of chosen) {
      for (const volume of volumes) findings.goal(scenario, subjectOf(volume, history), opening, { atMost: 200 });
      findings.ratio(scenario, opening, subjectOf(large, history), subjectOf(small, history), { atMost: 1.5 });
    }
    const [layered, ...deeper] = longer;
    if (layered !== undefined)
      for (const volume of volumes)
        for (const history of deeper)
          findings.ratio(scenario, opening, subjectOf(volume, history), subjectOf(volume, layered), { atMost: 1.5 });
    for (const volume of volumes)
      for (const history of longer) {
        const subjects = [subjectOf(volume, history), subjectOf(volume, shortest)] as const;
        findings.ratio(scenario, opening, ...subjects, { atMost: 1.5 });
        findings.ratio(scenario, slowest, ...subjects);
      }
    findings.remark(
      "Every length is a journal of its own, compacted while it was written and never thinned: no checkpoint was ever let go. Every",
      "write is an extent of its own, but all have the same bytes, so that 40 GB of writes are two GB of journal: what opening costs is",
      "places, not bytes. Reads go to places that were written at all times; those of `checkpoint after` may read zeros.",
      "A batch is a checkpoint interval of 5 s. With few of them there is no layer yet, and a header or fifteen to read; then come a",
      "directory and a section of each layer, at most three of each size, so the logarithm of the history counts.",
    );
    return findings;
  },
};

async function measureVolume(
  context: BenchContext,
  findings: Findings,
  volume: Volume,
  chosen: readonly History[],
): Promise<void> {
  const subjects: Subject[] = [];
  try {
    for (const history of chosen) {
      const folder = join(context.diskFolder, `${volume.bytes}-${history.batches}`);
      mkdirSync(folder);
      const clock = new AgedClock();
      const made = await makeSite(folder, volume.bytes, { clock });
      const name = subjectOf(volume, history);
      subjects.push({ name, folder, volume, made, sequence: history.batches * writesPerBatch });
      await writeCompacted(context, { name, folder, made, volume }, clock, history);
    }
    const longest = subjects.at(-1);
    const [, , old] = chosen;
    if (longest !== undefined && old !== undefined) {
      subjects.push({
        ...longest,
        name: `${longest.name}, checkpoint after ${old.name}`,
        sequence: old.batches * writesPerBatch,
      });
    }
    await interleaved(context.rounds, subjects, (subject) => openOften(context, findings, subject));
  } finally {
    for (const made of new Set(subjects.map((subject) => subject.made))) made.close();
  }
}

async function writeCompacted(
  context: BenchContext,
  { name, folder, made, volume }: Omit<Subject, "sequence">,
  clock: AgedClock,
  { batches }: History,
): Promise<void> {
  let compactingMs = 0;
  let layers = 0;
  const started = performance.now();
  const places = await writeHistory(made, { ...fullBatches, volumeBytes: volume.bytes, batches }, async (written) => {
    clock.advance(written * checkpointMs);
    const began = performance.now();
    layers = (await compactJournal(made.site, made.vpg.vpgId)).layers;
    compactingMs += performance.now() - began;
  });
  writeFileSync(join(folder, "places.json"), JSON.stringify(places));
  const seconds = Math.round((performance.now() - started) / 1000);
  const size = Math.round(folderBytes(join(folder, "objects")) / 1e6);
  context.say(
    `${name}: written in ${seconds} s, ${Math.round(compactingMs / 1000)} s of it compacting; ${layers} layers, ${size} MB`,
  );
}

const readSchema = z.object({
  openedMs: z.array(z.number()),
  nextMs: z.array(z.number()),
  requests: z.number(),
  cpuMs: z.number(),
  memoryMiB: z.number(),
});

/** In a process of its own: its first opening runs code that was not compiled yet, the others don't. */
async function openOften(
  context: BenchContext,
  findings: Findings,
  { name, folder, volume, made, sequence }: Subject,
): Promise<void> {
  const script = fileURLToPath(new URL("./view-reader.ts", import.meta.url));
  const { vpg, session, volume: number } = made;
  const times = context.quick ? viewOpeningsQuick : viewOpenings;
  const numbers = [session.session, number, volume.bytes, sequence, times].map(String);
  const printed = await run(process.execPath, [script, folder, vpg.vpgId, ...numbers]);
  const read = readSchema.parse(JSON.parse(printed));
  const sorted = read.openedMs.slice(1).sort((left, right) => left - right);
  findings.add(scenario, name, first, read.openedMs[0] ?? Number.NaN);
  findings.add(scenario, name, opening, spreadOf(sorted).median);
  findings.add(scenario, name, slowest, sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN);
  findings.add(scenario, name, readAgain, spreadOf(read.nextMs).median);
  findings.add(scenario, name, cpu, read.cpuMs);
  findings.add(scenario, name, requests, read.requests);
  findings.add(scenario, name, memory, read.memoryMiB);
}
