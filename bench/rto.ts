import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { operationViewSchema } from "#core/api/site-api.ts";
import { NbdClient } from "../gateway/nbd/client.ts";
import { parseNbdUri } from "../gateway/nbd/uri.ts";
import { farshore } from "../scripts/demo/processes.ts";
import { vpg } from "../scripts/demo/stage.ts";
import { type Bench, interleaved } from "./bench.ts";
import { Findings, type Metric } from "./findings.ts";
import { rtoDiskBytes, rtoDiskBytesQuick } from "./limits.ts";
import { makeMixedDisk } from "./mixed-disk.ts";
import { run, timed } from "./programs.ts";
import { BenchStage } from "./stage.ts";

const readable: Metric = { label: "to readable volumes", unit: "s", digits: 2 };
const reported: Metric = { label: "RTO as reported", unit: "s", digits: 2 };
const scenario = "failover live to the latest checkpoint, source dead";

export const rto: Bench = {
  name: "rto",
  what: "failover-live of a VPG of two volumes after its site and gateway were killed, until the first block of each volume was read; beside cp of the same disks",
  needs: ["cp", "sync"],
  async run(context) {
    const findings = new Findings();
    const bytes = context.quick ? rtoDiskBytesQuick : rtoDiskBytes;
    const directory = mkdtempSync(join(context.diskFolder, "stage-"));
    const disks = await Promise.all(
      ["one", "two"].map((name) => makeMixedDisk(join(context.diskFolder, `${name}.img`), bytes)),
    );
    const volumes = disks.map((disk, index) => ({ name: index === 0 ? "one" : "two", bytes, disk }));
    const stage = await BenchStage.set(directory, { volumes, checkpointInterval: "5s" });
    try {
      context.say("first copy");
      await stage.settled();
      await Promise.all(["gateway-paris", "site-paris"].map((name) => stage.processes.stop(name, "SIGKILL")));
      const subjects = [
        { name: "farshore failover live", work: () => failOver(stage, findings) },
        {
          name: "cp of the disks, then fsync",
          work: () => copy(context.program("cp"), context.program("sync"), disks),
        },
      ];
      await interleaved(context.rounds, subjects, async ({ name, work }, round) => {
        context.say(`${name}, round ${round + 1}`);
        findings.add(scenario, name, readable, await work());
      });
    } finally {
      await stage.stop();
    }
    findings.ratio(scenario, readable, "farshore failover live", "cp of the disks, then fsync");
    findings.remark(
      "From the start of the operator's command to the last of the first reads. Gateways ask an embedded site for commands every second, four times",
      "a second while an operation runs (on AWS every 5 s and every second); no data is copied before the volumes are there, so the size doesn't count.",
      "cp is the least that any product takes which restores before it boots, on this machine, without a network.",
    );
    return findings;
  },
};

async function failOver(stage: BenchStage, findings: Findings): Promise<number> {
  const { env } = stage.stage;
  const started = performance.now();
  const operation = operationViewSchema.parse(await farshore(["failover", "live", vpg, "--wait"], env));
  const uris = Object.values(operation.exports);
  if (uris.length !== 2) throw new Error(`the failover exported ${uris.length} volumes; it is ${operation.phase}`);
  await Promise.all(uris.map(readFirst));
  const elapsed = (performance.now() - started) / 1000;
  findings.add(scenario, "farshore failover live", reported, (operation.rtoMs ?? Number.NaN) / 1000);
  await farshore(["--yes", "failover", "rollback", vpg], env);
  return elapsed;
}

async function readFirst(uri: string): Promise<void> {
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  await client.read(0, 4096);
  await client.disconnect();
}

async function copy(cp: string, sync: string, disks: readonly string[]): Promise<number> {
  const copies = disks.map((disk) => `${disk}.copy`);
  let elapsed = 0;
  for (const [index, disk] of disks.entries()) elapsed += await timed(cp, [disk, copies[index] ?? ""]);
  elapsed += await timed(sync, copies);
  await run("rm", copies);
  return elapsed;
}
