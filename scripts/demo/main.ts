/**
 * The main job, end to end, on this machine: two sites, two gateways and an application as separate processes; protect, tag, test,
 * suffer an accident, lose a site, fail over to before it, roll back, fail over to the latest, commit. Writes only under `.cache/`;
 * exits 0 only when every proof held.
 */
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { z } from "zod";
import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { goHome } from "./back-home.ts";
import { volumeNames } from "./ledger.ts";
import { farshore, Processes, run } from "./processes.ts";
import { type Stage, setStage, show, until, vpg } from "./stage.ts";
import { readWriteLog } from "./write-log.ts";

const volumeBytes = 64 * 2 ** 20;
const root = new URL("../../", import.meta.url).pathname;
const script = (name: string) => new URL(`./${name}`, import.meta.url).pathname;
const checkSchema = z.object({ equal: z.array(z.int()), transactions: z.int(), problems: z.array(z.string()) });
const proved: string[] = [];
const beganAt = performance.now();

function say(text: string): void {
  process.stdout.write(`${((performance.now() - beganAt) / 1000).toFixed(1).padStart(6)} s  ${text}\n`);
}

function prove(what: string, holds: boolean, detail: string): void {
  if (!holds) throw new Error(`NOT PROVED: ${what}: ${detail}`);
  proved.push(`${what} (${detail})`);
}

/** Compares a recovered pair of volumes with the log of writes, in a process of its own. */
async function check(logs: string, operation: OperationView): Promise<z.infer<typeof checkSchema>> {
  const uris = Object.entries(operation.exports)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, uri]) => uri);
  return checkSchema.parse(JSON.parse(await run(script("check.ts"), [logs, ...uris, String(volumeBytes)])));
}

const operateAt = async (args: readonly string[], env: Stage["env"]): Promise<OperationView> =>
  operationViewSchema.parse(await farshore(args, env));
const operate = (stage: Stage, args: readonly string[]): Promise<OperationView> => operateAt(args, stage.env);

/** What was acknowledged before the checkpoint and what was submitted after it, by the application's own log. */
const written = (stage: Stage) => readWriteLog(stage.writesLog, () => {});

async function play(processes: Processes, directory: string): Promise<void> {
  const stage = await setStage(processes, directory, {
    volumes: volumeNames.map((name) => ({ name, bytes: volumeBytes })),
    checkpointInterval: "1s",
    bothWays: true,
  });
  say("two sites, two gateways; VPG shop: VM db with volumes data and log");
  const replicating = await until("the first checkpoint", 30_000, async () => {
    const view = await show(stage.env);
    return view.checkpoints > 0 ? view : undefined;
  });
  say(`protected: ${replicating.status}, initial sync done, first checkpoint ${replicating.newestCheckpoint?.id}`);

  processes.start("workload", script("workload.ts"), [stage.writesLog, ...stage.sourceUris, "300", "16000"]);
  await until("ten checkpoints", 60_000, async () => ((await show(stage.env)).checkpoints >= 10 ? true : undefined));
  say("the application writes; checkpoints come every second");

  const test = await operate(stage, ["failover", "test", "start", vpg]);
  const tested = await check(stage.writesLog, test);
  prove(
    "failover test beside production",
    tested.problems.length === 0 && tested.equal.length > 0,
    `${tested.transactions} transactions, consistent`,
  );
  const stopped = [
    "failover",
    "test",
    "stop",
    vpg,
    test.operationId,
    "--success",
    "yes",
    "--notes",
    "ledger consistent",
  ];
  await operate(stage, stopped);
  say(`failover test ${test.operationId}: consistent, stopped; replication went on`);

  const before = written(stage);
  const tag = z
    .object({ id: z.string() })
    .parse(await farshore(["checkpoint", "create", vpg, "--tag", "before-accident"], stage.env));
  const after = written(stage);
  say(`tagged checkpoint ${tag.id}: before-accident`);
  processes.signal("workload", "SIGUSR2");
  await new Promise((resolve) => setTimeout(resolve, 4000));
  say("accident: the application writes garbage over its accounts, and it is replicated");

  const alive = await show(stage.env);
  await Promise.all(["site-paris", "gateway-paris", "workload"].map((name) => processes.stop(name, "SIGKILL")));
  const total = written(stage);
  say("SIGKILL: site paris, its gateway and the application");

  const live = await operate(stage, ["failover", "live", vpg, "--checkpoint", "tag:before-accident", "--wait"]);
  const recovered = await check(stage.writesLog, live);
  prove(
    "recovered the tagged instant, byte for byte",
    recovered.equal.some((m) => m >= before.acknowledged && m <= after.submitted),
    `image = the first ${recovered.equal[0]} of ${total.submitted} writes; asked for and tagged between ${before.acknowledged} and ${after.submitted}`,
  );
  prove(
    "the application is consistent there",
    recovered.problems.length === 0,
    `${recovered.transactions} transactions`,
  );
  say(`failover live to the tag: RTO ${formatDuration(live.rtoMs ?? 0)}`);

  const back = await operate(stage, ["--yes", "failover", "rollback", vpg]);
  prove("rolled back", back.phase === "RolledBack", "every checkpoint still listed");
  say("rolled back");

  const latest = await operate(stage, ["failover", "live", vpg, "--wait"]);
  const newest = await check(stage.writesLog, latest);
  const lastEqual = newest.equal.at(-1) ?? -1;
  prove(
    "recovered the latest checkpoint, byte for byte",
    newest.equal.length > 0,
    `${total.acknowledged - lastEqual} of ${total.acknowledged} acknowledged writes behind it`,
  );
  prove("the accident is in it", newest.problems.length > 0, "as it was written");
  const committed = await operate(stage, ["failover", "commit", vpg]);
  prove("committed", committed.phase === "Completed", "the old source is fenced");
  say(`failover live to the latest, committed: RTO ${formatDuration(latest.rtoMs ?? 0)}`);

  const again = await check(stage.writesLog, latest);
  prove(
    "the local disks equal the recovered image after the commit",
    again.equal.at(-1) === lastEqual,
    "the journal is no longer read",
  );
  const boots = readFileSync(`${directory}/boot.log`, "utf8").trim().split("\n").length;
  prove("each boot hook ran once an operation", boots === 3, `${boots} boots`);
  const home = await goHome({
    ...{ stage, processes, say, prove, check, operate: operateAt },
    committed: latest,
    recovered: lastEqual,
  });
  report(stage, { alive, live, latest, total, lastEqual, home });
}

function report(
  stage: Stage,
  facts: {
    readonly alive: Awaited<ReturnType<typeof show>>;
    readonly live: OperationView;
    readonly latest: OperationView;
    readonly total: { submitted: number; acknowledged: number };
    readonly lastEqual: number;
    readonly home: readonly (readonly [string, string])[];
  },
): void {
  const rows: readonly (readonly [string, string])[] = [
    ["RPO when the site died", formatDuration(facts.alive.rpoMs ?? 0)],
    [
      "RTO to the tag / to the latest",
      `${formatDuration(facts.live.rtoMs ?? 0)} / ${formatDuration(facts.latest.rtoMs ?? 0)}`,
    ],
    ["Checkpoints", String(facts.alive.checkpoints)],
    [
      "Written by the application",
      `${facts.total.acknowledged} writes, ${formatBytes(statSync(stage.writesLog).size)} with its log`,
    ],
    ["Shipped, compressed", formatBytes(facts.alive.shippedBytes)],
    ["Not recovered at the latest", `${facts.total.acknowledged - facts.lastEqual} acknowledged writes`],
    ...facts.home,
  ];
  process.stdout.write("\n");
  for (const [label, value] of rows) process.stdout.write(`${label.padEnd(32)} ${value}\n`);
  process.stdout.write("\nProved:\n");
  for (const line of proved) process.stdout.write(`  - ${line}\n`);
  const data = `${stage.directory}/berlin`.replace(root, "");
  process.stdout.write(`\nLook again (offline, nothing runs any more):
  npm run farshore -- checkpoint list ${vpg} --offline ${data}
  npm run farshore -- journal verify ${data}
  npm run farshore -- view write ${vpg} --offline ${data} --checkpoint tag:before-accident --volume db/log --output .cache/log.img\n`);
}

const directory = `${root}.cache/demo`;
rmSync(directory, { recursive: true, force: true });
mkdirSync(directory, { recursive: true });
const processes = new Processes(directory);
try {
  await play(processes, directory);
} catch (error) {
  process.exitCode = 1;
  process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof Error && error.cause !== undefined) process.stderr.write(`${String(error.cause)}\n`);
  process.stderr.write(`Logs: ${directory}/*.log\n`);
} finally {
  await processes.stopAll();
}
say(process.exitCode === 1 ? "demo FAILED" : "demo done; everything it started has ended");
