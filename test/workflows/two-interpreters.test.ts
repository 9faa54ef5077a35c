import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { requirePythonPeer } from "../kit/peers.ts";
import { differencesOf, knownDifferences } from "./differences.ts";
import { observeMoto } from "./moto/observe.ts";
import { repeatOf, sampled, sweepTimeoutMs } from "./sample.ts";
import { type Observed, observeEmbedded, type Script } from "./script.ts";
import { scriptsOf } from "./scripts-of.ts";
import { type Base, sweep, tasksOf } from "./sweep.ts";

async function observed(scripts: readonly Script[]): Promise<readonly Base[]> {
  const bases: Base[] = [];
  for (const script of scripts) bases.push({ script, observed: await observeEmbedded(script) });
  return bases;
}

it("has scripts of every state machine", () => {
  const folders = readdirSync(new URL("../../workflows", import.meta.url), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(Object.keys(scriptsOf).sort()).toEqual(folders.sort());
});

it("knows only differences that docs/asl-interpreters.md explains", () => {
  const text = readFileSync(new URL("../../docs/asl-interpreters.md", import.meta.url), "utf8");
  const explained = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, id]) => id);
  expect(explained.sort()).toEqual(knownDifferences.map(({ id }) => id).sort());
});

/** Scripts derived from one document that both interpreters run in one run of the tests, beside those of every scenario. */
const sampledMax = 100;

const repeat = repeatOf("test/workflows/two-interpreters.test.ts");

describe.each(Object.entries(scriptsOf))("%s", (machine, scripts) => {
  it("means the same to the embedded interpreter and to moto's", { timeout: sweepTimeoutMs }, async (context) => {
    const python = requirePythonPeer(context, "moto");
    const bases = await observed(await scripts());
    const derived = sweep(bases);
    const all = [...bases, ...(await observed(sampled(derived, sampledMax)))];
    const tasks = tasksOf(bases[0]?.script.document).map(([name]) => name);
    const called = new Set(all.flatMap(({ observed: { calls } }) => calls.map(({ state }) => state)));
    expect(tasks.filter((name) => !called.has(name))).toEqual([]);

    const scriptsToRun = all.map(({ script }) => script);
    const seen = await observeMoto(python, scriptsToRun, sweepTimeoutMs);
    const met = new Map<string, number>();
    const unknown = all.flatMap(({ script, observed: embedded }, i) => {
      const moto = seen[i];
      if (moto === undefined) throw new Error(`moto did not run ${script.name}`);
      const differences = differencesOf(script.name, embedded, moto);
      if (differences.length === 0) return [];
      const known = knownDifferences.find(({ isMet }) => isMet(script.name, embedded, moto));
      if (known === undefined) return differences;
      met.set(known.id, (met.get(known.id) ?? 0) + 1);
      return [];
    });
    expect(unknown, `repeat: ${repeat}`).toEqual([]);
    const listed = [...met].map(([id, count]) => `${id} ${count}`).join(", ");
    const count = `${all.length} of ${bases.length + derived.length} scripts on both interpreters`;
    console.info(`${machine}: ${count}; known differences: ${listed}: ${repeat}`);
  });
});

describe("the comparison", () => {
  const run: Observed = {
    ...{ status: "SUCCEEDED", error: null, cause: null, output: { a: 1 }, endedAtMs: 5, events: ["A", "B"] },
    ...{ states: ["S", "T"], calls: [{ atMs: 0, state: "S", name: "f", payload: {} }] },
  };

  it.each([
    [{ status: "FAILED" }, "status"],
    [{ error: "E" }, "error"],
    [{ output: { a: 2 } }, "output"],
    [{ states: ["S"] }, "states"],
    [{ calls: [{ atMs: 1, state: "S", name: "f", payload: {} }] }, "calls"],
    [{ events: ["A"] }, "events"],
    [{ endedAtMs: 6 }, "endedAtMs"],
  ])("sees %j", (over, field) => {
    expect(differencesOf("x", run, run)).toEqual([]);
    expect(differencesOf("x", run, { ...run, ...over }).map((difference) => difference.field)).toEqual([field]);
  });
});
