/** `npm run sim`: worlds without end, or one again. */
import { actors, faultNames } from "./actors/all.ts";
import { askedBy } from "./asked.ts";
import { stepsDefault } from "./limits.ts";
import { failureText, repeatCommand } from "./report.ts";
import { run, stepsOf } from "./run.ts";
import { shrink } from "./shrink.ts";
import { Sums } from "./sums.ts";

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

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  const { help, seed: asked, steps: count, minutes, faults, detail, shrinkRuns } = askedBy(process.argv.slice(2));
  if (help) {
    say(usage);
    return 0;
  }
  const first = asked ?? Date.now() % 1_000_000_000;
  const startedAt = performance.now();
  const sums = new Sums();
  let status = 0;
  for (let seed = first; seed === first || performance.now() - startedAt < minutes * 60_000; seed += 1) {
    const steps = stepsOf(seed, count, faults);
    const result = await sums.add(() => run({ seed, steps, tell: detail ? say : undefined }));
    if (result.violation === undefined) continue;
    say(`seed ${seed}: ${result.violation.message}\nlooking for a shorter way there …`);
    const shrunk = await shrink(result, { seed }, steps, shrinkRuns);
    say(failureText(result, repeatCommand(seed, count, faults), shrunk));
    status = 1;
    break;
  }
  say(`\n${sums.text(`from seed ${first}`)}`);
  return status;
}

// Calls of sites that were killed never return, and the real timer that each has would hold the process for minutes.
try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exit(2);
}
