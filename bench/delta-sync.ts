import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ulid } from "ulid";
import { operationViewSchema } from "#core/api/site-api.ts";
import { until, vpg } from "../scripts/demo/stage.ts";
import type { Bench, BenchContext } from "./bench.ts";
import { changeDisk, type Pattern } from "./changed-disk.ts";
import { cpuSecondsOfChildren } from "./cpu.ts";
import { readIn, writeOut } from "./exports.ts";
import { Findings, type Metric } from "./findings.ts";
import { folderBytes } from "./folder-bytes.ts";
import { hashSpeed } from "./hash-speed.ts";
import { changedShare, replicatingMs, syncDiskBytes, syncDiskBytesQuick } from "./limits.ts";
import { makeMixedDisk } from "./mixed-disk.ts";
import { findProgram, run, timed } from "./programs.ts";
import { BenchStage } from "./stage.ts";

const seconds: Metric = { label: "time", unit: "s", digits: 1 };
const cpu: Metric = { label: "CPU", unit: "s", digits: 1 };
const rate: Metric = { label: "of disk", unit: "MB/s" };
const moved: Metric = { label: "moved / changed", unit: "×", digits: 2 };

/** One way of bringing a copy up to a disk: prepared with the disk as it was, then run with it changed. */
interface Subject {
  readonly name: string;
  update(): Promise<{ readonly seconds: number; readonly cpuSeconds: number; readonly movedBytes: number }>;
  end(): Promise<void>;
}

export const deltaSync: Bench = {
  name: "delta-sync",
  what: "a copy of a disk brought up to 5 % of changes that nobody noted; against `rsync --inplace --no-whole-file` and `restic backup`",
  needs: ["restic"],
  async run(context) {
    const findings = new Findings();
    await hashSpeed(findings, context.rounds, context.quick);
    const bytes = context.quick ? syncDiskBytesQuick : syncDiskBytes;
    const rsync = findProgram("rsync");
    for (const pattern of ["at random", "in clusters"] satisfies readonly Pattern[]) {
      const scenario = `${bytes / 2 ** 30} GiB, 5 % changed ${pattern}`;
      context.say(`making the disk (${scenario})`);
      const disk = await makeMixedDisk(join(context.diskFolder, "disk.img"), bytes);
      writeOut(disk);
      readIn(disk);
      const subjects = [
        await ours(context, disk, bytes),
        await resticOf(context, disk),
        ...(rsync === undefined ? [] : [await rsyncOf(context, rsync, disk)]),
      ];
      try {
        for (let round = 0; round < context.rounds; round += 1) {
          // All are brought up to the same changes, each in its turn.
          const changed = changeDisk(disk, bytes, pattern, changedShare, 7 + round);
          readIn(disk);
          for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
            context.say(`${subject.name}, round ${round + 1}`);
            const done = await subject.update();
            findings.add(scenario, subject.name, seconds, done.seconds);
            findings.add(scenario, subject.name, rate, bytes / 1e6 / done.seconds);
            findings.add(scenario, subject.name, cpu, done.cpuSeconds);
            findings.add(scenario, subject.name, moved, done.movedBytes / changed);
          }
        }
      } finally {
        for (const subject of subjects) await subject.end();
      }
      findings.ratio(scenario, rate, "farshore", "restic backup", { atLeast: 2 });
      findings.goal(scenario, "farshore", moved, { atMost: 1.5 });
      findings.ratio(scenario, cpu, "farshore", "restic backup");
      if (rsync !== undefined) findings.ratio(scenario, rate, "farshore", "rsync");
    }
    if (rsync === undefined) findings.remark("rsync is not installed here, and was not measured.");
    findings.limit(
      "SHA-256, as openssl speed has it above: the disk is hashed once by the gateway and once by the site, which decompresses it",
    );
    findings.remark(
      "Ours is `farshore sync`: from the request to the checkpoint that the site lists behind it; gateway and site share this machine's",
      "cores here, each hashes the whole disk, and are two machines in life. What moved is payload that was shipped; of restic what its",
      "repository grew by, of rsync its literal data. A gateway hears of the sync at its next heartbeat, up to a second later. rsync and restic have no network between them and their copy.",
    );
    return findings;
  },
};

async function ours(context: BenchContext, disk: string, bytes: number): Promise<Subject> {
  const directory = mkdtempSync(join(context.diskFolder, "stage-"));
  const plan = { volumes: [{ name: "disk", bytes, disk }], checkpointInterval: "5s" };
  const stage = await BenchStage.set(directory, plan);
  await stage.firstCheckpoint();
  const { FARSHORE_SITE: url, FARSHORE_TOKEN: token } = stage.stage.env;
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const reply = await fetch(`${url}${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    });
    return operationViewSchema.parse(await reply.json());
  };
  const used = (): number => stage.cpuSeconds("gateway-paris") + stage.cpuSeconds("site-berlin");
  return {
    name: "farshore",
    update: async () => {
      const [started, before] = [performance.now(), used()];
      const { operationId } = await ask("POST", `/v1/vpgs/${vpg}/sync`, { requestId: ulid().toLowerCase() });
      const ended = await until("the delta-sync to end", replicatingMs, async () => {
        const operation = await ask("GET", `/v1/operations/${operationId}`);
        return operation.endedAt === null ? undefined : operation;
      });
      if (ended.phase !== "Completed") throw new Error(`the delta-sync is ${ended.phase}: ${ended.error?.message}`);
      const elapsed = (performance.now() - started) / 1000;
      return {
        seconds: elapsed,
        cpuSeconds: used() - before,
        movedBytes: ended.syncFigures?.shippedBytes ?? Number.NaN,
      };
    },
    end: async () => {
      await stage.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function resticOf(context: BenchContext, disk: string): Promise<Subject> {
  const folder = mkdtempSync(join(context.diskFolder, "restic-"));
  const repository = join(folder, "repository");
  const env = { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: "bench", RESTIC_CACHE_DIR: join(folder, "cache") };
  const program = context.program("restic");
  await run(program, ["init", "--quiet"], env);
  await run(program, ["backup", "--quiet", disk], env);
  return {
    name: "restic backup",
    update: () =>
      measured(
        () => timed(program, ["backup", "--quiet", disk], env),
        () => folderBytes(repository),
      ),
    end: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function rsyncOf(context: BenchContext, program: string, disk: string): Promise<Subject> {
  const folder = mkdtempSync(join(context.diskFolder, "rsync-"));
  const copy = join(folder, "copy.img");
  copyFileSync(disk, copy);
  let literalBytes = 0;
  const update = async (): Promise<number> => {
    const started = performance.now();
    // The sizes are equal and the times may be: it is to compare all the same.
    const said = await run(program, ["--inplace", "--no-whole-file", "--ignore-times", "--stats", disk, copy]);
    literalBytes += Number(/Literal data: ([\d,]+)/.exec(said)?.[1]?.replaceAll(",", ""));
    return (performance.now() - started) / 1000;
  };
  return {
    name: "rsync",
    update: () => measured(update, () => literalBytes),
    end: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function measured(work: () => Promise<number>, bytes: () => number) {
  const [before, bytesBefore] = [cpuSecondsOfChildren(), bytes()];
  const elapsed = await work();
  return { seconds: elapsed, cpuSeconds: cpuSecondsOfChildren() - before, movedBytes: bytes() - bytesBefore };
}
