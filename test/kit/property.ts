/**
 * Property tests that can be repeated: a failure prints the seed, the shrunk counterexample and the command that runs it again.
 * FARSHORE_SEED and FARSHORE_PATH (from that command) take the place of a fresh seed.
 */
import fc from "fast-check";
import { expect } from "vitest";

const seed = process.env["FARSHORE_SEED"];
const path = process.env["FARSHORE_PATH"];

const repeated = seed === undefined ? {} : { seed: Number(seed), ...(path === undefined ? {} : { path }) };

/** As `fc.assert`, for synchronous and asynchronous properties; await it in either case. */
export async function holds<Values>(
  property: fc.IRawProperty<Values>,
  options: { readonly numRuns?: number } = {},
): Promise<void> {
  const details = await fc.check(property, { ...options, ...repeated });
  if (details.failed) {
    const { testPath = "", currentTestName = "" } = expect.getState();
    const variables = `FARSHORE_SEED=${details.seed} FARSHORE_PATH=${details.counterexamplePath ?? "0"}`;
    const only = `${testPath.replace(`${process.cwd()}/`, "")} -t ${JSON.stringify(currentTestName.replaceAll(" > ", " "))}`;
    const report = fc.defaultReportMessage(details) ?? "the property failed";
    throw new Error(`${report}\n\nrepeat with: ${variables} npm test -- ${only}`, { cause: details.errorInstance });
  }
}
