/**
 * `npm run bench [-- NAMES… --rounds N --quick]`: measures, prints every figure with its peer, the machine's limit and the
 * reason, and writes all of it to .cache/bench/<date>.json. Nothing is asserted. Exit status 0 when everything asked for was
 * measured, 1 when a bench failed, 2 when one was not measured because a program is missing, 64 for wrong arguments.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatDuration } from "#core/units.ts";
import { aws } from "./aws.ts";
import type { Bench } from "./bench.ts";
import { compaction } from "./compaction.ts";
import { deltaSync } from "./delta-sync.ts";
import type { FindingsRecord } from "./findings.ts";
import { firstSync } from "./first-sync.ts";
import { functions } from "./functions.ts";
import { guest } from "./guest.ts";
import { impact } from "./impact.ts";
import { ingest } from "./ingest.ts";
import { roundsDefault } from "./limits.ts";
import { machineLines, thisMachine } from "./machine.ts";
import { linesOf } from "./print.ts";
import { findProgram } from "./programs.ts";
import { rto } from "./rto.ts";
import { rtoHistory } from "./rto-history.ts";
import { viewOpen } from "./view-open.ts";
import { viewWrite } from "./view-write.ts";

const benches: readonly Bench[] = [
  guest,
  ingest,
  firstSync,
  deltaSync,
  viewOpen,
  viewWrite,
  compaction,
  impact,
  rto,
  rtoHistory,
  functions,
  aws,
];
const root = fileURLToPath(new URL("..", import.meta.url));
const resultsFolder = join(root, ".cache", "bench");

interface Outcome {
  readonly name: string;
  readonly what: string;
  readonly state: "measured" | "failed" | "not measured";
  /** Why it failed or was not measured. */
  readonly reason?: string;
  readonly findings?: FindingsRecord;
  readonly seconds: number;
}

interface Options {
  readonly rounds: number;
  readonly quick: boolean;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** tmpfs, where Linux has it for everybody: a disk that costs nothing but memory copies. */
function memoryFolder(): string | undefined {
  try {
    // TMPFS_MAGIC of linux/magic.h.
    return statfsSync("/dev/shm").type === 0x01021994 ? mkdtempSync("/dev/shm/farshore-bench-") : undefined;
  } catch {
    return undefined;
  }
}

async function measure(bench: Bench, { rounds, quick }: Options): Promise<Outcome> {
  const { name, what } = bench;
  say(`\n${name}: ${what}`);
  const missing = bench.needs.filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) {
    const reason = `needs ${missing.join(", ")}: npm run setup:peers`;
    say(`  not measured: ${reason}`);
    return { name, what, state: "not measured", reason, seconds: 0 };
  }
  const diskFolder = mkdtempSync(join(resultsFolder, `${name}-`));
  const memory = memoryFolder();
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  try {
    const findings = await bench.run({
      program: (program) => findProgram(program) ?? program,
      rounds,
      quick,
      diskFolder,
      memoryFolder: memory,
      say: (text) => say(`  … ${text}`),
    });
    const record = findings.record();
    say(linesOf(record).join("\n"));
    say(`\n  took ${formatDuration(seconds() * 1000)}`);
    return { name, what, state: "measured", findings: record, seconds: seconds() };
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    say(`  failed: ${reason}`);
    return { name, what, state: "failed", reason, seconds: seconds() };
  } finally {
    rmSync(diskFolder, { recursive: true, force: true });
    if (memory !== undefined) rmSync(memory, { recursive: true, force: true });
  }
}

function readArguments(): { readonly chosen: readonly Bench[]; readonly options: Options } | string {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { rounds: { type: "string" }, quick: { type: "boolean", default: false } },
    });
    const rounds = Number(values.rounds ?? (values.quick ? 1 : roundsDefault));
    if (!Number.isInteger(rounds) || rounds < 1) return `--rounds takes a whole number, not ${values.rounds}`;
    const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
    if (unknown.length > 0) return `no bench ${unknown.join(", ")}; there are ${benches.map((b) => b.name).join(", ")}`;
    const chosen = benches.filter((bench) => positionals.length === 0 || positionals.includes(bench.name));
    return { chosen, options: { rounds, quick: values.quick } };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function main(): Promise<number> {
  const read = readArguments();
  if (typeof read === "string") {
    process.stderr.write(`${read}\nUsage: npm run bench [-- NAMES… --rounds N --quick]\n`);
    return 64;
  }
  const machine = thisMachine(root);
  say(machineLines(machine).join("\n"));
  if (read.options.quick) say("quick run: it shows that the benches work, not how fast anything is");
  mkdirSync(resultsFolder, { recursive: true });
  const outcomes: Outcome[] = [];
  for (const bench of read.chosen) outcomes.push(await measure(bench, read.options));
  const file = join(resultsFolder, `${machine.date.replaceAll(":", "-")}.json`);
  writeFileSync(file, `${JSON.stringify({ machine, ...read.options, benches: outcomes }, undefined, 2)}\n`);
  say("");
  for (const { name, state, reason } of outcomes)
    say(`${name.padEnd(12)} ${state}${state === "not measured" ? ` (${reason})` : ""}`);
  say(`written to ${file.replace(root, "")}`);
  if (outcomes.some(({ state }) => state === "failed")) return 1;
  return outcomes.some(({ state }) => state === "not measured") ? 2 : 0;
}

process.exitCode = await main();
