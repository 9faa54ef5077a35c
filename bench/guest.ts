import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { type Exported, nbdkitFile, plainFarshore, qemuNbd, replicatedFarshore, writeOut } from "./exports.ts";
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
    return findings;
  },
};

async function measurePlace(context: BenchContext, findings: Findings, place: string, folder: string): Promise<void> {
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
