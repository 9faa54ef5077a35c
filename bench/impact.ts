import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { makeDisk, writeOut } from "./exports.ts";
import { Findings, type Metric } from "./findings.ts";
import { fio } from "./fio.ts";
import { fioSeconds, fioSecondsQuick, guestDiskBytes } from "./limits.ts";
import { Running } from "./programs.ts";
import { BenchStage } from "./stage.ts";

const iops: Metric = { label: "IOPS", unit: "" };
const p50: Metric = { label: "p50", unit: "µs", digits: 1 };
const p99: Metric = { label: "p99", unit: "µs", digits: 1 };

const depths = [1, 16] as const;
const scenarioOf = (depth: number): string => `4 KiB random writes of a replicating guest, QD${depth}`;

/** What else runs on the machine meanwhile; the answer ends it. */
interface Subject {
  readonly name: string;
  begin(): Promise<() => Promise<void>>;
}

const alone = "nothing else";

export const impact: Bench = {
  name: "impact",
  what: "p50 and p99 of a guest's writes while a site on the same machine takes another VPG's batches, compacts and thins its journal, or scrubs it",
  needs: ["fio"],
  async run(context) {
    const findings = new Findings();
    const directory = mkdtempSync(join(context.diskFolder, "stage-"));
    const disk = makeDisk(join(context.diskFolder, "guest.img"), guestDiskBytes);
    const stage = await BenchStage.set(directory, {
      volumes: [{ name: "disk", bytes: guestDiskBytes, disk }],
      checkpointInterval: "5s",
    });
    try {
      const subjects: readonly Subject[] = [
        { name: alone, begin: async () => async () => undefined },
        { name: "another VPG's ingest", begin: () => housekeeper(context, "none") },
        { name: "its ingest, compaction and retention", begin: () => housekeeper(context, "care") },
        { name: "a scrub of its journal", begin: () => housekeeper(context, "scrub") },
      ];
      for (const depth of depths) {
        await interleaved(context.rounds, subjects, (subject) =>
          measure(context, findings, stage, { disk, depth, subject }),
        );
        for (const { name } of subjects.slice(1)) {
          findings.ratio(scenarioOf(depth), p50, name, alone);
          findings.ratio(scenarioOf(depth), p99, name, alone);
        }
      }
    } finally {
      await stage.stop();
    }
    findings.remark(
      "On two cores with fio, the gateway, its site and what disturbs them, all at the same priority: a site of production's would be on",
      "another machine, and its timers work for seconds a minute. Here they never rest, so this is the most that they can take away. The",
      "scrub reads and checks every byte of a journal, at the rate at which `farshore scrub start` lets it, again and again.",
    );
    return findings;
  },
};

async function measure(
  context: BenchContext,
  findings: Findings,
  stage: BenchStage,
  { disk, depth, subject }: { readonly disk: string; readonly depth: number; readonly subject: Subject },
): Promise<void> {
  context.say(`QD${depth}: ${subject.name}`);
  await stage.settled();
  writeOut(disk);
  const end = await subject.begin();
  try {
    const seconds = context.quick ? fioSecondsQuick : 2 * fioSeconds;
    const job = { direction: "randwrite", blockBytes: 4096, depth, seconds } as const;
    const result = await fio(context.program("fio"), { uri: stage.stage.sourceUris[0] ?? "" }, guestDiskBytes, job);
    findings.add(scenarioOf(depth), subject.name, iops, result.iops);
    findings.add(scenarioOf(depth), subject.name, p50, result.p50Us);
    findings.add(scenarioOf(depth), subject.name, p99, result.p99Us);
  } finally {
    await end();
  }
}

async function housekeeper(context: BenchContext, care: "care" | "none" | "scrub"): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(context.diskFolder, "other-"));
  const script = new URL("./housekeeper.ts", import.meta.url).pathname;
  const running = new Running(process.execPath, [script, folder, care]);
  await running.until(() => running.said.includes("ready"));
  return async () => {
    await running.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}
