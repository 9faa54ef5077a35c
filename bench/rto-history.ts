import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { operationViewSchema } from "#core/api/site-api.ts";
import { compactionLimits } from "#core/compaction/limits.ts";
import { newestManifestInBucket } from "#core/journal/manifest.ts";
import { SiteClient } from "../gateway/control/site-client.ts";
import { batchesInFlightMax } from "../gateway/limits.ts";
import { NbdClient } from "../gateway/nbd/client.ts";
import { parseNbdUri } from "../gateway/nbd/uri.ts";
import { farshore } from "../scripts/demo/processes.ts";
import { until } from "../scripts/demo/stage.ts";
import { BatchMaker } from "./batch-maker.ts";
import { type Bench, type BenchContext, interleaved } from "./bench.ts";
import { Findings, type Metric } from "./findings.ts";
import { fullBatches } from "./history.ts";
import { replicatingMs, rtoDiskBytesQuick } from "./limits.ts";
import { type Load, openLoad } from "./load.ts";
import { BenchStage } from "./stage.ts";
import { type History, histories } from "./view-open.ts";

const readable: Metric = { label: "to a readable volume", unit: "s", digits: 2 };
const reported: Metric = { label: "RTO as reported", unit: "s", digits: 2 };
const scenario = "failover test of the latest checkpoint";

export const rtoHistory: Bench = {
  name: "rto-history",
  what: "failover-test of a VPG until the first block of its volume was read, by the length of its journal (10^3 to 10^7 writes of 4 KiB)",
  needs: [],
  async run(context) {
    const findings = new Findings();
    const chosen = context.quick ? histories.slice(0, 3) : histories;
    const directory = mkdtempSync(join(context.diskFolder, "stage-"));
    // The stage's own VPG is not failed over: its site and its recovery gateway serve the others.
    const stage = await BenchStage.set(directory, {
      volumes: [{ name: "one", bytes: rtoDiskBytesQuick }],
      checkpointInterval: "5s",
    });
    try {
      for (const [index, history] of chosen.entries()) await fill(context, stage, vpgOf(index), history);
      const subjects = chosen.map((history, index) => ({ history, vpg: vpgOf(index) }));
      await interleaved(context.rounds, subjects, async ({ history, vpg }, round) => {
        context.say(`${history.name}, round ${round + 1}`);
        await testOnce(findings, stage, vpg, history);
      });
    } finally {
      await stage.stop();
    }
    const [shortest, ...longer] = chosen;
    for (const { name } of longer) findings.ratio(scenario, readable, name, shortest?.name ?? "", { atMost: 1.5 });
    findings.remark(
      "From the start of the operator's command to the first 4 KiB over NBD, at a site and a recovery gateway of their own processes.",
      "Gateways ask an embedded site for commands every second, four times a second while an operation runs (on AWS every 5 s and every second).",
      "The site's timer had made layers of each journal before; batches came over HTTP, as a gateway sends them.",
    );
    return findings;
  },
};

const vpgOf = (index: number): string => `history-${index}`;

/** Sends the history, and waits for the site's compactor. */
async function fill(context: BenchContext, stage: BenchStage, vpg: string, { name, batches }: History): Promise<void> {
  const load = await openLoad(stage, vpg, "berlin-gw");
  const started = performance.now();
  await send(load, batches);
  context.say(`${name}: sent in ${Math.round((performance.now() - started) / 1000)} s`);
  const objects = await FileObjects.open(join(stage.stage.directory, "berlin", "objects"));
  await until("layers", replicatingMs, async () => {
    const manifest = await newestManifestInBucket(objects, load.session.vpgId);
    const covered = manifest?.covered.get(load.session.session)?.batches ?? 0;
    return batches - covered < compactionLimits.layerBatchesMin ? true : undefined;
  });
}

async function send({ url, token, session }: Load, batches: number): Promise<void> {
  const client = new SiteClient({ url, access: { kind: "token", token } }, batchesInFlightMax);
  const maker = new BatchMaker(session, { ...fullBatches, markers: true });
  let left = batches;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const { batch, body } = maker.next();
      await client.putBatch({ ...session, batch }, body, 0);
    }
  };
  try {
    await Promise.all(Array.from({ length: batchesInFlightMax }, worker));
  } finally {
    await client.close();
  }
}

async function testOnce(findings: Findings, stage: BenchStage, vpg: string, { name }: History): Promise<void> {
  const { env } = stage.stage;
  const started = performance.now();
  const operation = operationViewSchema.parse(await farshore(["failover", "test", "start", vpg], env));
  const [uri] = Object.values(operation.exports);
  if (uri === undefined) throw new Error(`the test exported nothing; it is ${operation.phase}`);
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  await client.read(0, 4096);
  findings.add(scenario, name, readable, (performance.now() - started) / 1000);
  findings.add(scenario, name, reported, (operation.rtoMs ?? Number.NaN) / 1000);
  await client.disconnect();
  await farshore(["--yes", "failover", "test", "stop", vpg, operation.operationId, "--success", "yes"], env);
}
