/**
 * What `npm test` runs: Biome, the compiler and all tests but those that deploy sites (`npm run test:deploy`); then a table
 * of what was proved and what was skipped, and as last line `N passed, N failed, N skipped`. Arguments go to vitest
 * (`npm test -- --project unit core/journal`), and then only the tests run. Exit status 0 when nothing failed, 1 otherwise.
 * With FARSHORE_CI=1 (set by .ci/run) no skip is allowed that installing something would prevent.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseCLI, startVitest, type TestCase, type TestModule, type TestSuite } from "vitest/node";
import { allowedSkipsSchema, proofTable, type TestOutcome } from "./proof-table.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

function check(name: string, command: string, commandArguments: readonly string[]): TestOutcome {
  const { status } = spawnSync(`${root}/node_modules/.bin/${command}`, commandArguments, {
    cwd: root,
    stdio: "inherit",
  });
  return { project: "checks", file: "package.json", group: name, name, state: status === 0 ? "passed" : "failed" };
}

function outermostName(test: TestCase | TestSuite): string | undefined {
  let outermost: string | undefined;
  for (let parent = test.parent; parent.type === "suite"; parent = parent.parent) outermost = parent.name;
  return outermost;
}

function outcomesOf(module: TestModule): TestOutcome[] {
  const place = { project: module.project.name, file: module.relativeModuleId };
  const broken = (group: string, name: string): TestOutcome => ({ ...place, group, name, state: "failed" });
  const outcomes: TestOutcome[] = module.errors().map(() => broken(place.file, "the file itself"));
  for (const suite of module.children.allSuites())
    for (const _ of suite.errors())
      outcomes.push(broken(outermostName(suite) ?? suite.name, `${suite.fullName} (hooks)`));
  for (const test of module.children.allTests()) {
    const result = test.result();
    const note = result.state === "skipped" ? result.note : undefined;
    outcomes.push({
      ...place,
      group: outermostName(test) ?? place.file,
      name: test.fullName,
      // What was still pending when the run ended has proved nothing.
      state: result.state === "pending" ? "failed" : result.state,
      ...(note === undefined ? {} : { note }),
    });
  }
  return outcomes;
}

/** With `-t PATTERN` vitest reports every other test as skipped, without a note. */
function wasChosen(pattern: unknown): (outcome: TestOutcome) => boolean {
  return (outcome) => pattern === undefined || outcome.state !== "skipped" || outcome.note !== undefined;
}

async function runTests(commandLine: readonly string[]): Promise<TestOutcome[]> {
  const { filter, options } = parseCLI(["vitest", "run", ...commandLine]);
  const vitest = await startVitest("test", [...filter], { ...options, run: true, watch: false, root });
  const outcomes = vitest.state.getTestModules().flatMap(outcomesOf).filter(wasChosen(options.testNamePattern));
  for (const error of vitest.state.getUnhandledErrors()) {
    const name = error instanceof Error ? error.message : String(error);
    outcomes.push({ project: "checks", file: "", group: "errors that no test caught", name, state: "failed" });
  }
  if (outcomes.length === 0)
    outcomes.push({ project: "checks", file: "", group: "tests", name: "no test was found", state: "failed" });
  await vitest.close();
  return outcomes;
}

const commandLine = process.argv.slice(2);
const checks =
  commandLine.length > 0 ? [] : [check("biome ci", "biome", ["ci", "."]), check("tsc", "tsc", ["--noEmit"])];
const outcomes = [...checks, ...(await runTests(commandLine.length > 0 ? commandLine : ["--project=!deploy"]))];
const allowed = allowedSkipsSchema.parse(JSON.parse(readFileSync(`${root}/test/allowed-skips.json`, "utf8")));
const proof = proofTable(outcomes, allowed, process.env["FARSHORE_CI"] === "1");
const summary = `${proof.passed} passed, ${proof.failed} failed, ${proof.skipped} skipped`;
process.exitCode = proof.failed === 0 ? 0 : 1;
process.stdout.write(`${[...proof.lines, "", summary].join("\n")}\n`);
