#!/usr/bin/env node
import { CommanderError } from "commander";
import { FarshoreError } from "#core/errors.ts";
import { exitCodes, runbookOf, toExitCode } from "./exit.ts";
import { makeProgram } from "./program.ts";

// Who reads the output may have seen enough (`farshore … | head`): nothing failed, and nobody is left to tell.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

try {
  await makeProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  } else {
    const name = error instanceof FarshoreError ? `${error.name}: ` : "";
    process.stderr.write(`farshore: ${name}${error instanceof Error ? error.message : String(error)}\n`);
    const runbook = runbookOf(error);
    if (runbook !== undefined) process.stderr.write(`What to do: ${runbook}\n`);
    process.exitCode = toExitCode(error);
  }
}
