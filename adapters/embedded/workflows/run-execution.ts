import { Corrupt } from "#core/errors.ts";
import { Execution } from "./execution.ts";
import { Abandoned, StatesFailure } from "./failure.ts";
import { event } from "./frame.ts";
import type { Host, Ledger } from "./ledger.ts";
import type { Machine } from "./states.ts";
import { sleepUntil } from "./task.ts";

/** Runs a standard execution to its end and records it; answers early, with nothing recorded, when it is abandoned. */
export async function runExecution(host: Host, ledger: Ledger, machine: Machine): Promise<void> {
  const { row, frames, over } = ledger;
  const { timeoutSeconds } = machine;
  const root = frames.get(0);
  if (root === undefined) throw new Corrupt(`execution ${row.name} has no frame`);
  try {
    const work = [new Execution(host, ledger, machine).advance(root, over)];
    if (timeoutSeconds !== undefined) work.push(timeLimit(host, ledger, row.started_at + timeoutSeconds * 1000));
    const output = await Promise.race(work);
    ledger.end({ status: "SUCCEEDED", output: JSON.stringify(output) }, event("ExecutionSucceeded"));
  } catch (error) {
    if (error instanceof Abandoned || over.aborted) return;
    if (!(error instanceof StatesFailure)) throw error;
    ledger.fail(error.error, error.reason);
  } finally {
    ledger.abandon();
  }
}

async function timeLimit(host: Host, ledger: Ledger, at: number): Promise<never> {
  await sleepUntil(host.clock, at, ledger.over);
  ledger.end({ status: "TIMED_OUT", error: "States.Timeout" }, event("ExecutionTimedOut"));
  throw new Abandoned("timed out");
}
