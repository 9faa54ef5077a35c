import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { Corrupt, NotFound } from "#core/errors.ts";
import type { Actor } from "./actors/actor.ts";
import { actors } from "./actors/all.ts";
import type { Coverage } from "./coverage.ts";
import { Invariants } from "./invariants/invariants.ts";
import { pauseMsMax, stepsDefault } from "./limits.ts";
import { recover } from "./recover.ts";
import { Violation } from "./violation.ts";
import { type Planted, World } from "./world.ts";

/** One thing that is to happen; what it does follows from its seed and from how the world stands. */
export interface Step {
  readonly pauseMs: number;
  readonly actor: Actor;
  readonly seed: number;
}

export interface RunOptions {
  readonly seed: number;
  readonly steps?: readonly Step[];
  readonly planted?: Planted | undefined;
  /** Hears of everything that happens, at once. */
  readonly tell?: ((line: string) => void) | undefined;
}

export interface RunResult {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly digest: string;
  readonly lines: readonly string[];
  readonly events: number;
  readonly coverage: Coverage;
  readonly simulatedMs: number;
  readonly judged: number;
  /** Steps taken before it ended. */
  readonly steps: number;
}

/** What a seed stands for: which things happen, and when. `faults` leaves out all others of the faults. */
export function stepsOf(seed: number, count = stepsDefault, faults?: readonly string[]): readonly Step[] {
  return stepsBy(
    actors.filter(({ kind, name }) => kind === "deed" || faults === undefined || faults.includes(name)),
    seed,
    count,
  );
}

/** The same of these actors alone. */
export function stepsBy(taking: readonly Actor[], seed: number, count: number): readonly Step[] {
  const random = new SeededRandom(seed);
  const total = taking.reduce((sum, { weight }) => sum + weight, 0);
  return Array.from({ length: count }, () => {
    const pauseMs = random.chance(0.3) ? 0 : random.below(pauseMsMax);
    let draw = random.below(total);
    const actor = taking.find(({ weight }) => {
      draw -= weight;
      return draw < 0;
    });
    if (actor === undefined) throw new TypeError("the weights are more than their sum");
    return { pauseMs, actor, seed: random.uint32() };
  });
}

/** Lives through one world: the steps, the invariants after each, and the recovery at the end. */
export async function run(options: RunOptions): Promise<RunResult> {
  const { seed, steps = stepsOf(seed), planted, tell } = options;
  const world = await World.begin(seed, planted, tell);
  const invariants = new Invariants(world);
  let taken = 0;
  let violation: Violation | undefined;
  try {
    for (const step of steps) {
      await take(world, step);
      await invariants.check();
      taken += 1;
    }
    world.trace.add("nothing goes wrong any more");
    await recover(world, invariants);
  } catch (error) {
    violation = violationOf(error);
    world.trace.add(violation.message);
  } finally {
    world.close();
  }
  return {
    ...{ seed, violation, steps: taken },
    digest: world.trace.digest(),
    lines: world.trace.lines,
    events: world.trace.count,
    coverage: world.coverage,
    simulatedMs: world.elapsedMs,
    judged: invariants.judged,
  };
}

async function take(world: World, { pauseMs, actor, seed }: Step): Promise<void> {
  await world.clock.advance(pauseMs);
  const before = new Map(await Promise.all(world.protections.map(async (each) => [each, await each.state()] as const)));
  for (const state of before.values()) world.coverage.saw(state);
  const done = await actor.act(world, new SeededRandom(seed));
  if (done === undefined) return;
  world.trace.add(`${actor.name}: ${done.text}`);
  if (actor.kind === "fault") for (const each of done.to) world.coverage.met(before.get(each) ?? "", actor.name);
  await world.clock.settle();
}

/** Whoever looks on reads nothing but what is listed: that there is an object less than there must be is no fault of the reader. */
function violationOf(error: unknown): Violation {
  if (error instanceof Violation) return error;
  const lost = error instanceof NotFound || error instanceof Corrupt;
  return new Violation(lost ? "durable before listed" : "program fault", textOf(error));
}

const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));
