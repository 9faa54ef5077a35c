import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { compactJournal } from "#core/compaction/compact.ts";
import { listBatches, readJournalObject } from "#core/protection/journal-reads.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { HttpJournal } from "../gateway/export/http-journal.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { Findings, type Metric } from "./findings.ts";
import { type BenchSite, makeSite, writeHistory, writesPerBatch } from "./history.ts";
import { viewOpenings } from "./limits.ts";

const opening: Metric = { label: "open + first read of 4 KiB", unit: "ms", digits: 1 };
const cpu: Metric = { label: "CPU for it", unit: "ms", digits: 1 };
const readAgain: Metric = { label: "next read in the page", unit: "ms", digits: 2 };

const GiB = 2 ** 30;
const volumes = [
  { name: "1 GiB", bytes: GiB },
  { name: "1 TiB", bytes: 1024 * GiB },
] as const;
/** Full batches of 1024 writes that come nearest to 10^3, 10^5 and 10^6. */
const histories = [
  { name: "10^3 writes", batches: 1 },
  { name: "10^5 writes", batches: 98 },
  { name: "10^6 writes", batches: 977 },
] as const;

type Volume = (typeof volumes)[number];
type History = (typeof histories)[number];

const scenario = "opening a view";
const subjectOf = (volume: Volume, history: History): string => `${volume.name}, ${history.name}`;

export const viewOpen: Bench = {
  name: "view-open",
  what: "opening a view of a checkpoint and reading its first 4 KiB, by length of history (random 4 KiB writes) and size of volume",
  needs: [],
  async run(context) {
    const findings = new Findings();
    const chosen = context.quick ? histories.slice(0, 2) : histories;
    for (const volume of volumes) await measureVolume(context, findings, volume, chosen);
    const [small, large] = volumes;
    const [shortest] = chosen;
    for (const history of chosen) {
      for (const volume of volumes) findings.goal(scenario, subjectOf(volume, history), opening, { atMost: 200 });
      findings.ratio(scenario, opening, subjectOf(large, history), subjectOf(small, history), { atMost: 1.5 });
    }
    for (const volume of volumes) {
      const longest = subjectOf(volume, chosen.at(-1) ?? shortest);
      findings.ratio(scenario, opening, longest, subjectOf(volume, shortest), { atMost: 1.5 });
    }
    findings.remark(
      "The size of the volume doesn't count: a view knows pages of 1 GiB by number and loads the index of the one it reads.",
      "The length of history counts by its logarithm: a first touch of a chunk reads a directory and a section of each layer, and the",
      "headers of the batches that are in none yet. A checkpoint of 10^3 writes is read through the same layers here as one of 10^6.",
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
  const folder = join(context.diskFolder, volume.name.replace(" ", ""));
  mkdirSync(folder);
  const bench = await makeSite(folder, volume.bytes);
  try {
    const batches = chosen.at(-1)?.batches ?? 1;
    context.say(`${volume.name}: writing a history of ${batches * writesPerBatch} writes`);
    let compactingMs = 0;
    let made = { layers: 0 };
    const places = await writeHistory(bench, volume.bytes, batches, async () => {
      const began = performance.now();
      made = await compactJournal(bench.site, bench.vpg.vpgId);
      compactingMs += performance.now() - began;
    });
    context.say(`${volume.name}: ${made.layers} layers, made meanwhile in ${Math.round(compactingMs)} ms`);
    for (let round = 0; round < viewOpenings; round += 1) {
      // A block that was written in the first batch: found whatever came later.
      const offset = places[(round * 37) % places.length] ?? 0;
      for (const history of chosen) await openOnce(findings, bench, volume, history, offset);
    }
  } finally {
    bench.close();
  }
}

/** What a recovery gateway does for a volume, with calls into the site in place of HTTP. */
async function openOnce(
  findings: Findings,
  { site, vpg, session, volume: number }: BenchSite,
  volume: Volume,
  history: History,
  offset: number,
): Promise<void> {
  const upTo = { session: session.session, sequence: history.batches * writesPerBatch };
  const target = Buffer.alloc(4096);
  const started = performance.now();
  const cpuBefore = process.cpuUsage();
  const source = new HttpJournal({
    routes: {
      batches: (_, to, page) => listBatches(site, vpg, to, page),
      object: (_, key, range) => readJournalObject(site, vpg, key, range),
    },
    vpgId: vpg.vpgId,
    upTo,
    clock: site.clock,
    random: site.random,
    log: site.log,
  });
  const view = new View({ reader: new JournalReader(source), volume: number, sizeBytes: volume.bytes, upTo });
  await view.read(offset, target);
  const opened = performance.now();
  const { user, system } = process.cpuUsage(cpuBefore);
  if (target[0] !== 0x5a) throw new Error(`nothing at ${offset} of the view`);
  await view.read(offset, target);
  findings.add(scenario, subjectOf(volume, history), opening, opened - started);
  findings.add(scenario, subjectOf(volume, history), cpu, (user + system) / 1000);
  findings.add(scenario, subjectOf(volume, history), readAgain, performance.now() - opened);
}
