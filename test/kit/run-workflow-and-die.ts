import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { machineOf, silentLog, taskOf } from "./workflow-run.ts";

/**
 * Run as a process: `node run-workflow-and-die.ts FILE N` runs one execution on FILE, a real clock and real disk, and kills
 * itself with SIGKILL right after the N-th event. Prints the names of the functions it was asked to call.
 */
export const dyingDocument = machineOf({
  First: taskOf("first", { Next: "Rest", ResultPath: "$.first", OutputPath: "$" }),
  Rest: { Type: "Wait", Seconds: 0, Next: "Second" },
  Second: taskOf("second", { ResultPath: "$.second", OutputPath: "$" }),
});

if (import.meta.main) {
  const [file = "", lives = "0"] = process.argv.slice(2);
  let seen = 0;
  const workflows = new EmbeddedWorkflows({
    file,
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
    machines: { m: { definition: dyingDocument } },
    invoke: async (name) => {
      process.stdout.write(`${name}\n`);
      return name;
    },
    onTransition: () => {
      if (++seen === Number(lives)) process.kill(process.pid, "SIGKILL");
    },
  });
  await workflows.resume();
  await workflows.start("m", "m", "{}");
}
