/** The demo's second act: the way back. The old source's disks are trusted for nothing, and no write is lost on the way home. */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import type { OperationView } from "#core/api/site-api.ts";
import { formatBytes } from "#core/units.ts";
import { volumeNames } from "./ledger.ts";
import { farshore, type Processes } from "./processes.ts";
import { type Stage, show, until, vpg } from "./stage.ts";
import { readWriteLog } from "./write-log.ts";

export interface Act {
  readonly stage: Stage;
  readonly processes: Processes;
  readonly say: (text: string) => void;
  readonly prove: (what: string, holds: boolean, detail: string) => void;
  /** The committed failover, and the first how many writes of the application it recovered. */
  readonly committed: OperationView;
  readonly recovered: number;
  /** `farshore …` of an operation, at a site. */
  readonly operate: (args: readonly string[], env: Stage["env"]) => Promise<OperationView>;
  readonly check: (
    logs: string,
    operation: OperationView,
  ) => Promise<{ equal: number[]; transactions: number; problems: string[] }>;
}

const blockBytes = 4096;
const damagedBytes = 512 * 1024;
const damages = [3, 21, 40, 77] as const;

/** Returns the lines of the table of figures. */
export async function goHome(act: Act): Promise<readonly (readonly [string, string])[]> {
  const { stage, processes, say, prove, committed, recovered, operate } = act;
  const { directory, env, homeEnv } = stage;
  const old = volumeNames.map((name) => `${directory}/disks/${name}.img`);
  for (const place of damages) damage(old[0] ?? "", place * damagedBytes);
  stage.restart.home();
  stage.restart.source();
  await until("site paris", 60_000, () => farshore(["operation", "list"], homeEnv));
  say("site paris is back, with its gateway and old disks, which somebody wrote to meanwhile; they take no write");

  const second = `${directory}/writes-berlin.log`;
  const uris = exportsOf(committed);
  processes.start("workload-berlin", new URL("./workload.ts", import.meta.url).pathname, [
    second,
    ...uris,
    "60",
    "16000",
  ]);
  await until("the application at berlin", 120_000, async () =>
    written(second).acknowledged > 1100 ? true : undefined,
  );
  say("the application goes on at berlin: it reads its log, repairs its accounts, and writes");

  const promoted = volumeNames.map(
    (_, index) => `${directory}/recovered/operations/${committed.operationId}/${index + 1}/data`,
  );
  const bytes = promoted.reduce((sum, path) => sum + statSync(path).size, 0);
  const differing = volumeNames.reduce(
    (sum, _, index) => sum + differingBytes(readFileSync(old[index] ?? ""), readFileSync(promoted[index] ?? "")),
    0,
  );
  const reverse = await operate(["reverse-protection", "start", vpg, "--wait"], env);
  const sync = await until("the sync's figures", 20_000, async () => (await show(homeEnv)).lastSync ?? undefined);
  const shipped = sync.shippedBytes;
  prove(
    "protected the other way",
    reverse.phase === "Completed",
    `term ${(await show(homeEnv)).term}, journal at paris`,
  );
  say(`reverse protection: ${formatBytes(shipped)} shipped where ${formatBytes(differing)} differed`);

  const move = await operate(
    ["move", "start", vpg, "--commit-policy", "commit", "--commit-after", "0", "--wait"],
    homeEnv,
  );
  const total = written(second);
  const home = await act.check(`${stage.writesLog}:${recovered},${second}`, move);
  const last = home.equal.at(-1) ?? -1;
  prove(
    "moved home, and no acknowledged write is missing",
    last >= recovered + total.acknowledged,
    `${total.acknowledged} written at berlin, until its disks were closed`,
  );
  prove("the application is consistent at home", home.problems.length === 0, `${home.transactions} transactions`);
  say("moved home");
  return [
    ["Differed at reverse protection", `${formatBytes(differing)} of ${formatBytes(bytes)}, in blocks of 4 KiB`],
    ["Shipped for it", `${formatBytes(shipped)}, the application writing on`],
  ];
}

const written = (log: string) => readWriteLog(log, () => {});

export function exportsOf({ exports }: OperationView): string[] {
  return Object.entries(exports)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, uri]) => uri);
}

export function damage(path: string, offset: number): void {
  const file = openSync(path, "r+");
  writeSync(file, randomBytes(damagedBytes), 0, damagedBytes, offset);
  closeSync(file);
}

/** Of two disks, in whole blocks of 4 KiB, the grain of what a sync ships. */
export function differingBytes(left: Buffer, right: Buffer): number {
  let bytes = 0;
  for (let at = 0; at < left.length; at += blockBytes) {
    const block = left.subarray(at, at + blockBytes);
    if (!block.equals(right.subarray(at, at + blockBytes))) bytes += block.length;
  }
  return bytes;
}
