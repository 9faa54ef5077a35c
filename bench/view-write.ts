import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NbdClient } from "../gateway/nbd/client.ts";
import { parseNbdUri } from "../gateway/nbd/uri.ts";
import { vm, vpg } from "../scripts/demo/stage.ts";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { writeOut } from "./exports.ts";
import { Findings, type Metric } from "./findings.ts";
import { overwrites, overwritesQuick, viewDiskBytes, viewDiskBytesQuick } from "./limits.ts";
import { makeMixedDisk } from "./mixed-disk.ts";
import { timed } from "./programs.ts";
import { BenchStage } from "./stage.ts";

const rate: Metric = { label: "of disk", unit: "MB/s" };
const seconds: Metric = { label: "time", unit: "s", digits: 2 };
const cli = fileURLToPath(new URL("../cli/main.ts", import.meta.url));

export const viewWrite: Bench = {
  name: "view-write",
  what: "`farshore view write`: a disk as of a checkpoint into a new durable file, against `cp` of an equal file (with and without fsync)",
  needs: ["cp", "sync"],
  async run(context) {
    const findings = new Findings();
    const bytes = context.quick ? viewDiskBytesQuick : viewDiskBytes;
    const disk = await makeMixedDisk(join(context.diskFolder, "disk.img"), bytes);
    writeOut(disk);
    const directory = mkdtempSync(join(context.diskFolder, "stage-"));
    const stage = await BenchStage.set(directory, {
      volumes: [{ name: "disk", bytes, disk }],
      checkpointInterval: "5s",
    });
    try {
      await stage.settled();
      const size = `${bytes / 2 ** 30} GiB, half of it data`;
      await measure(context, findings, stage, disk, `${size}, as the first copy left it`, bytes);
      const count = context.quick ? overwritesQuick : overwrites;
      context.say(`overwriting ${count} blocks at random`);
      await overwrite(stage, count, bytes);
      await stage.settled();
      await measure(context, findings, stage, disk, `${size}, then ${count} random 4 KiB writes over all of it`, bytes);
    } finally {
      await stage.stop();
    }
    findings.remark(
      "Ours starts a process, lists and reads the journal offline, decompresses and checks every frame that shows, writes what isn't zeros,",
      "and makes the file durable; cp moves bytes within the page cache and leaves them dirty.",
    );
    return findings;
  },
};

async function measure(
  context: BenchContext,
  findings: Findings,
  stage: BenchStage,
  disk: string,
  scenario: string,
  bytes: number,
): Promise<void> {
  const output = join(context.diskFolder, "output.img");
  const data = `${stage.stage.directory}/berlin`;
  const viewArguments = [
    cli,
    "view",
    "write",
    vpg,
    "--checkpoint",
    "latest",
    "--volume",
    `${vm}/disk`,
    "--output",
    output,
  ];
  const cp = context.program("cp");
  const subjects = [
    {
      name: "farshore view write --offline",
      work: () => timed(process.execPath, [...viewArguments, "--offline", data]),
    },
    { name: "farshore view write, by the site", work: () => timed(process.execPath, viewArguments, stage.stage.env) },
    { name: "cp", work: () => timed(cp, [disk, output]) },
    {
      name: "cp, then fsync",
      work: async () => (await timed(cp, [disk, output])) + (await timed(context.program("sync"), [output])),
    },
  ];
  await interleaved(context.rounds, subjects, async ({ name, work }, round) => {
    context.say(`${scenario}: ${name}, round ${round + 1}`);
    const elapsed = await work();
    findings.add(scenario, name, seconds, elapsed);
    findings.add(scenario, name, rate, bytes / 1e6 / elapsed);
    // What cp left dirty is not to be written out in the next one's time.
    writeOut(output);
    rmSync(output);
  });
  for (const peer of ["cp", "cp, then fsync"]) findings.ratio(scenario, rate, "farshore view write --offline", peer);
}

async function overwrite(stage: BenchStage, count: number, bytes: number): Promise<void> {
  const { address, exportName } = parseNbdUri(stage.stage.sourceUris[0] ?? "");
  const client = await NbdClient.connect(address, exportName);
  const block = Buffer.alloc(4096);
  const depth = 16;
  for (let done = 0; done < count; done += depth) {
    block.fill(done % 251);
    const places = Array.from(
      { length: depth },
      () => Math.floor((Math.random() * bytes) / block.length) * block.length,
    );
    await Promise.all(places.map((place) => client.write(place, block)));
  }
  await client.flush();
  await client.disconnect();
}
