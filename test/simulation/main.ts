/** `npm run sim`: worlds without end, or one again. */
import { parseArgs } from "node:util";
import { actors, faultNames } from "./actors/all.ts";
import { Coverage } from "./coverage.ts";
import { stepsDefault } from "./limits.ts";
import { failureText, repeatCommand } from "./report.ts";
import { run, stepsOf } from "./run.ts";
import { shrink } from "./shrink.ts";

const usage = `Runs simulated worlds and checks the invariants after every step.

Usage: npm run sim -- [--minutes M] [--seed N] [--steps N] [--faults LIST] [--detail] [--shrink-runs N]

  --minutes M      goes on with further seeds for so long (defaults to 1); stops at the first failure
  --seed N         this world; without --minutes only this one (defaults to a fresh one)
  --steps N        actions of one world (defaults to ${stepsDefault})
  --faults LIST    only these faults, by comma; "none" for none
  --detail         prints everything that happens: requests, answers, log events
  --shrink-runs N  shorter runs tried after a failure (defaults to 150)

Faults: ${faultNames.join(", ")}
Deeds: ${actors
  .filter(({ kind }) => kind === "deed")
  .map(({ name }) => name)
  .join(", ")}

Exit status: 0 nothing was found, 1 an invariant was broken, 2 wrong usage.
`;

const options = {
  minutes: { type: "string" },
  seed: { type: "string" },
  steps: { type: "string" },
  faults: { type: "string" },
  detail: { type: "boolean" },
  "shrink-runs": { type: "string" },
  help: { type: "boolean" },
} as const;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

function numberOf(text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isFinite(value) || value < 0) throw new TypeError(`${text} is no number`);
  return value;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options });
  if (values.help === true) {
    say(usage);
    return 0;
  }
  const first = numberOf(values.seed, Date.now() % 1_000_000_000);
  const count = numberOf(values.steps, stepsDefault);
  const minutes = numberOf(values.minutes, values.seed === undefined ? 1 : 0);
  const faults = values.faults?.split(",").map((name) => name.trim());
  const unknown = faults?.find((name) => name !== "none" && !faultNames.includes(name));
  if (unknown !== undefined) throw new TypeError(`there is no fault "${unknown}"`);
  const startedAt = performance.now();
  const coverage = new Coverage();
  const sums = { worlds: 0, steps: 0, simulatedMs: 0, judged: 0 };
  let status = 0;
  for (let seed = first; seed === first || performance.now() - startedAt < minutes * 60_000; seed += 1) {
    const steps = stepsOf(seed, count, faults);
    const result = await run({ seed, steps, tell: values.detail === true ? say : undefined });
    coverage.add(result.coverage);
    sums.worlds += 1;
    sums.steps += result.steps;
    sums.simulatedMs += result.simulatedMs;
    sums.judged += result.judged;
    if (result.violation === undefined) continue;
    say(`seed ${seed}: ${result.violation.message}\nlooking for a shorter way there …`);
    const shrunk = await shrink(result, { seed }, steps, numberOf(values["shrink-runs"], 150));
    say(failureText(result, repeatCommand(seed, count, faults), shrunk));
    status = 1;
    break;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  say(`\n${coverage.table(faultNames)}\n`);
  say(
    `${sums.worlds} worlds from seed ${first}: ${sums.steps} steps, ${coverage.faults} faults ` +
      `(${(coverage.faults / seconds).toFixed(1)} a second), ${(sums.simulatedMs / 3_600_000).toFixed(2)} simulated hours ` +
      `in ${seconds.toFixed(0)} s, ${sums.judged} images of checkpoints judged`,
  );
  return status;
}

// Calls of sites that were killed never return, and the real timer that each has would hold the process for minutes.
try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exit(2);
}
