import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { cpuSecondsOfChildren } from "./cpu.ts";
import { readIn, writeOut } from "./exports.ts";
import { Findings, type Metric } from "./findings.ts";
import { folderBytes } from "./folder-bytes.ts";
import { syncDiskBytes, syncDiskBytesQuick } from "./limits.ts";
import { makeMixedDisk } from "./mixed-disk.ts";
import { run, timed } from "./programs.ts";
import { BenchStage } from "./stage.ts";

const seconds: Metric = { label: "time", unit: "s", digits: 1 };
const cpu: Metric = { label: "CPU", unit: "s", digits: 1 };
const stored: Metric = { label: "stored", unit: "MiB" };
const rate: Metric = { label: "of disk", unit: "MB/s" };

const MiB = 2 ** 20;

export const firstSync: Bench = {
  name: "first-sync",
  what: "first copy of a disk, half files of /usr and half zeros, until it can be recovered; against `restic backup` of the same file",
  needs: ["restic"],
  async run(context) {
    const findings = new Findings();
    const bytes = context.quick ? syncDiskBytesQuick : syncDiskBytes;
    const scenario = `first copy of ${bytes / 2 ** 30} GiB`;
    context.say("making the disk");
    const disk = await makeMixedDisk(join(context.diskFolder, "disk.img"), bytes);
    writeOut(disk);
    readIn(disk);
    const subjects = [
      { name: "farshore", copy: () => ours(context, disk, bytes) },
      { name: "restic backup", copy: () => restic(context, disk) },
    ];
    await interleaved(context.rounds, subjects, async ({ name, copy }, round) => {
      context.say(`${name}, round ${round + 1}`);
      const done = await copy();
      findings.add(scenario, name, seconds, done.seconds);
      findings.add(scenario, name, rate, bytes / 1e6 / done.seconds);
      findings.add(scenario, name, cpu, done.cpuSeconds);
      findings.add(scenario, name, stored, done.storedBytes / MiB);
    });
    findings.ratio(scenario, rate, "farshore", "restic backup", { atLeast: 3 });
    findings.ratio(scenario, cpu, "farshore", "restic backup");
    findings.limit(
      "zstd level 1 compresses about 300 MB/s of such data a thread, and decompresses 750: 7 s and 3 s of CPU for 2 GiB",
    );
    findings.remark(
      "Ours runs from the start of the gateway's process to the first checkpoint that the site lists: read, compress, hash, send over",
      "HTTP, check and decompress every frame (docs/decisions/0003), create objects and fsync them, index them. Its CPU is that of both",
      "ends, which share this machine's cores here and are two machines in life. restic runs from its start to its end, into an empty",
      "repository on the same disk, without a network; it also encrypts. Both read the disk from the page cache.",
    );
    return findings;
  },
};

interface Copied {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly storedBytes: number;
}

async function ours(context: BenchContext, disk: string, bytes: number): Promise<Copied> {
  const directory = mkdtempSync(join(context.diskFolder, "stage-"));
  const plan = { volumes: [{ name: "disk", bytes, disk }], checkpointInterval: "5s" };
  const stage = await BenchStage.set(directory, plan);
  try {
    // The gateway is started last: its process is as old as this line.
    const started = performance.now();
    await stage.firstCheckpoint();
    const elapsed = (performance.now() - started) / 1000;
    const cpuSeconds = stage.cpuSeconds("gateway-paris") + stage.cpuSeconds("site-berlin");
    return { seconds: elapsed, cpuSeconds, storedBytes: folderBytes(`${directory}/berlin`) };
  } finally {
    await stage.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function restic(context: BenchContext, disk: string): Promise<Copied> {
  const folder = mkdtempSync(join(context.diskFolder, "restic-"));
  const env = {
    RESTIC_REPOSITORY: join(folder, "repository"),
    RESTIC_PASSWORD: "bench",
    RESTIC_CACHE_DIR: join(folder, "cache"),
  };
  const program = context.program("restic");
  try {
    await run(program, ["init", "--quiet"], env);
    const before = cpuSecondsOfChildren();
    const elapsed = await timed(program, ["backup", "--quiet", disk], env);
    return {
      seconds: elapsed,
      cpuSeconds: cpuSecondsOfChildren() - before,
      storedBytes: folderBytes(join(folder, "repository")),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
