import { rmSync } from "node:fs";
import { join } from "node:path";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import {
  type Exported,
  makeDisk,
  nbdkitFile,
  plainFarshore,
  qemuNbd,
  replicatedFarshore,
  writeOut,
} from "./exports.ts";
import { Findings, type Metric } from "./findings.ts";
import { type FioJob, fio } from "./fio.ts";
import { fioSeconds, fioSecondsQuick, guestDiskBytes } from "./limits.ts";

const iops: Metric = { label: "IOPS", unit: "" };
const throughput: Metric = { label: "throughput", unit: "MB/s" };
const p50: Metric = { label: "p50", unit: "µs", digits: 1 };
const p99: Metric = { label: "p99", unit: "µs", digits: 1 };

type Shape = Omit<FioJob, "seconds"> & { readonly name: string; readonly metric: Metric };

const KiB = 1024;
const MiB = 1024 * KiB;
const shapes: readonly Shape[] = [
  { name: "4 KiB random writes, QD1", direction: "randwrite", blockBytes: 4 * KiB, depth: 1, metric: iops },
  { name: "4 KiB random writes, QD16", direction: "randwrite", blockBytes: 4 * KiB, depth: 16, metric: iops },
  { name: "4 KiB random writes, QD64", direction: "randwrite", blockBytes: 4 * KiB, depth: 64, metric: iops },
  { name: "1 MiB sequential writes, QD16", direction: "write", blockBytes: MiB, depth: 16, metric: throughput },
  { name: "1 MiB reads, QD16", direction: "read", blockBytes: MiB, depth: 16, metric: throughput },
];

export const guest: Bench = {
  name: "guest",
  what: "what a guest sees of its disk (IOPS, p50 and p99, MB/s), against nbdkit file and qemu-nbd over the same kind of file",
  needs: ["fio", "nbdkit", "qemu-nbd"],
  async run(context) {
    const findings = new Findings();
    const places: readonly (readonly [string, string | undefined])[] = [
      ["tmpfs", context.memoryFolder],
      ["disk", context.diskFolder],
    ];
    for (const [place, folder] of places) {
      if (folder === undefined) findings.remark(`${place}: not measured, this system has none`);
      else await measurePlace(context, findings, place, folder);
    }
    findings.remark(
      "Every subject has a file of 1 GiB of its own, written before, in the page cache; half of every block compresses away. fio takes",
      "about a core. `farshore, no tap` is our NBD server alone; what is missing to it in `farshore, replicating` is the CPU of the",
      "compressing thread, of the copies into segments, and of the recovery site, which has the lowest priority but the same cores.",
      "1 MiB writes: beyond what one thread compresses (about 300 MB/s) the buffer of 256 MiB fills, the gateway goes over to marking",
      "dirty chunks, and syncs them afterwards; the next round waits until that is done.",
    );
    return findings;
  },
};

async function measurePlace(context: BenchContext, findings: Findings, place: string, folder: string): Promise<void> {
  await measureFile(context, findings, place, folder);
  const subjects: Exported[] = [];
  try {
    subjects.push(await nbdkitFile(context, folder, guestDiskBytes));
    subjects.push(await qemuNbd(context, folder, guestDiskBytes));
    subjects.push(await plainFarshore(folder, guestDiskBytes));
    subjects.push(await replicatedFarshore(context, folder, guestDiskBytes));
    for (const shape of shapes) await measureShape(context, findings, `${place}: ${shape.name}`, shape, subjects);
  } finally {
    await Promise.all(subjects.map((subject) => subject.stop()));
  }
}

/** What a program gets that writes to the same kind of file itself, one request at a time: no server can be faster at QD1. */
async function measureFile(context: BenchContext, findings: Findings, place: string, folder: string): Promise<void> {
  const file = makeDisk(join(folder, "limit.img"), guestDiskBytes);
  for (const shape of shapes.filter((each) => each.depth !== 64 && !(each.depth === 16 && each.blockBytes < MiB))) {
    writeOut(file);
    const job = { ...shape, depth: 1, seconds: fioSecondsQuick };
    const result = await fio(context.program("fio"), { file }, guestDiskBytes, job);
    const figures = `${Math.round(result.iops)} a second, ${Math.round(result.bytesPerSecond / 1e6)} MB/s, p50 ${result.p50Us.toFixed(1)} µs`;
    findings.limit(
      `${place}: ${shape.name.replace(/, QD.*/, "")} into the file without any server, one at a time: ${figures}`,
    );
  }
  rmSync(file);
}

async function measureShape(
  context: BenchContext,
  findings: Findings,
  scenario: string,
  shape: Shape,
  subjects: readonly Exported[],
): Promise<void> {
  context.say(scenario);
  const job: FioJob = { ...shape, seconds: context.quick ? fioSecondsQuick : fioSeconds };
  await interleaved(context.rounds, subjects, async (subject) => {
    await subject.settle();
    // What the last one left dirty in the page cache is not to be written out in this one's time.
    writeOut(subject.file);
    const result = await fio(context.program("fio"), { uri: subject.uri }, guestDiskBytes, job);
    findings.add(scenario, subject.subject, iops, result.iops);
    findings.add(scenario, subject.subject, throughput, result.bytesPerSecond / 1e6);
    findings.add(scenario, subject.subject, p50, result.p50Us);
    findings.add(scenario, subject.subject, p99, result.p99Us);
  });
  const ours = subjects.at(-1)?.subject ?? "";
  const small = shape.blockBytes < MiB;
  const { metric } = shape;
  findings.ratio(
    scenario,
    metric,
    ours,
    "nbdkit file",
    small ? { atLeast: 0.8 } : shape.direction === "read" ? { atLeast: 0.9 } : undefined,
  );
  findings.ratio(scenario, metric, ours, "qemu-nbd", small ? { atLeast: 1 } : undefined);
}
