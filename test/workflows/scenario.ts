import { expect } from "vitest";
import { type ProtectedShop, protectShop } from "../kit/failover-site.ts";
import { type Summary, summaryOf, traceOf } from "../kit/failover-summary.ts";
import { FailoverWorld, type WorldOptions } from "../kit/failover-world.ts";

/** One way an operation may go, and how it must end. */
export interface Scenario extends Omit<WorldOptions, "ask"> {
  readonly name: string;
  readonly ask: (shop: ProtectedShop) => WorldOptions["ask"];
  /** The states that the execution enters, in order. */
  readonly trace: readonly string[];
  /** What is special about its end; `invariants` holds what every end has. */
  readonly end: object;
  /** The execution ends without having ended the operation; the reconciler's part comes later. */
  readonly abandoned?: boolean;
}

/** Runs it on a fresh site; `over` kills, stops or changes the document. The caller closes the world. */
export async function play(scenario: Scenario, over: Partial<WorldOptions> = {}): Promise<FailoverWorld> {
  const shop = await protectShop();
  const world = new FailoverWorld(shop, { ...scenario, ask: scenario.ask(shop), ...over });
  try {
    await (scenario.abandoned === true ? world.run(() => world.closed()) : world.run());
  } catch (error) {
    world.close();
    throw error;
  }
  return world;
}

/** Plays it and compares everything. */
export async function check(scenario: Scenario, over: Partial<WorldOptions> = {}): Promise<void> {
  const world = await play(scenario, over);
  try {
    expect(await traceOf(world)).toEqual(scenario.trace);
    if (scenario.abandoned === true) return;
    const summary = await summaryOf(world);
    expect(summary).toMatchObject(scenario.end);
    invariants(summary);
  } finally {
    world.close();
  }
}

/** What holds at the end of every operation, however it went. */
export function invariants(summary: Summary): void {
  expect(summary.machines.violations).toEqual([]);
  expect(Object.values(summary.effects).filter((count) => count !== 1)).toEqual([]);
  expect(["Completed", "RolledBack", "Failed"]).toContain(summary.phase);
  expect(summary.tokens).toEqual([]);
  expect(summary.vpg).toMatchObject({ operationId: null, syncOperationId: null, openTests: [] });
  expect(summary.report).toEqual({ phase: summary.phase, error: summary.error, checkpoint: summary.checkpoint });
  expect(summary.execution).toBe(summary.phase === "Failed" ? "FAILED" : "SUCCEEDED");
  const committed = summary.decision?.decision === "commit";
  expect(summary.vpg).toMatchObject({ role: committed ? "Runs" : "Journal", term: committed ? 2 : 1 });
  expect(summary.term.n).toBe(summary.vpg.term);
  expect(summary.next === null).toBe(summary.error === null);
  // A pin outlives the operation only where a view may still be open.
  if (summary.next !== "retry") expect(summary.pins.filter((count) => count > 0)).toEqual([]);
  if (summary.phase !== "RolledBack" && summary.phase !== "Completed") return;
  expect(summary.error).toBeNull();
  if (committed) return;
  expect(summary.machines).toMatchObject({ attached: 0, running: [], sourceRuns: true, closed: false });
}
