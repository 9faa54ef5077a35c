import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AlreadyDecided, NotBeforeCommit } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Decision, Operation } from "#core/protection/operation.ts";
import { decide, findDecision } from "#core/recovery/decide.ts";
import { retarget } from "#core/recovery/retarget.ts";
import { protectShop } from "../kit/failover-site.ts";
import { summaryOf } from "../kit/failover-summary.ts";
import { FailoverWorld, operationId } from "../kit/failover-world.ts";
import { holds } from "../kit/property.ts";
import { operator } from "../kit/site.ts";
import { invariants } from "./scenario.ts";

const hour = 3_600_000;

const asks = fc.array(
  fc.record({
    wish: fc.constantFrom("commit" as const, "rollback" as const, "retarget" as const),
    /** Of a retarget: which of the shop's checkpoints. */
    checkpoint: fc.integer({ min: 0, max: 2 }),
    /** Turns of the event loop that this person is later than the others. */
    late: fc.integer({ min: 0, max: 30 }),
    by: fc.constantFrom("ann", "bob", "eve"),
  }),
  { minLength: 1, maxLength: 5 },
);

type Ask = (typeof asks extends fc.Arbitrary<infer A> ? A : never)[number];

/** People ask at the very moment when the policy's time is up, some wakes are lost, and every call takes a time of its own. */
const race = fc.record({
  asks,
  timer: fc.constantFrom("commit" as const, "rollback" as const, "none" as const),
  timerLate: fc.integer({ min: 0, max: 30 }),
  lostWakes: fc.integer({ min: 0, max: 4 }),
  jitter: fc.integer({ min: 1, max: 1_000_000 }),
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const requestOf = (index: number): Id => idSchema.parse(`01k3s1te00000000000000r00${index}`);

function asksFor(world: FailoverWorld, { wish, checkpoint, by }: Ask, index: number): Promise<Decision | Operation> {
  const caller = { ...operator, name: by };
  if (wish !== "retarget") return decide(world.outside, caller, operationId, { decision: wish });
  const id = world.shop.checkpoints[checkpoint] ?? "";
  const ask = { checkpoint: { kind: "id", id }, requestId: requestOf(index) } as const;
  return retarget(world.outside, caller, operationId, ask);
}

describe("commit, rollback, retargets, the policy's timer and lost wakes at once", () => {
  it("come to exactly one decision, which is what is carried out and what everybody is told", async () => {
    const property = fc.asyncProperty(race, async ({ asks: people, timer, timerLate, lostWakes, jitter }) => {
      const shop = await protectShop();
      const world = new FailoverWorld(shop, {
        ask: {
          kind: "failover-live",
          options: {
            checkpoint: { kind: "latest" },
            shutdown: { policy: "graceful", graceMs: 1000 },
            commitPolicy: timer === "none" ? { action: "none" } : { action: timer, afterMs: hour },
          },
        },
        ...{ jitter, loseWakes: 0 },
      });
      try {
        await world.run(async () => (await world.operation())?.tokens["decision"] !== undefined);
        await shop.clock.advance(hour - 1);
        world.loseWakes(lostWakes);
        const answers = people.map(async (person, index) => {
          await turns(person.late);
          return asksFor(world, person, index);
        });
        const timerFires = turns(timerLate).then(() => shop.clock.advance(1));
        const settled = await Promise.allSettled(answers);
        await timerFires;
        await world.run();
        await expectOne(world, settled, people);
      } finally {
        world.close();
      }
    });
    await holds(property, { numRuns: 150 });
  });
});

async function expectOne(
  world: FailoverWorld,
  answers: readonly PromiseSettledResult<Decision | Operation>[],
  people: readonly Ask[],
): Promise<void> {
  const stands = await findDecision(world.shop.site, operationId);
  const operation = await world.operation();
  const tries = new Set(operation?.retargets.map(({ requestId }) => requestId));
  for (const [index, answer] of answers.entries()) {
    const wish = people[index]?.wish;
    // What was taken is recorded for good, and nothing is that was refused.
    expect(tries.has(requestOf(index))).toBe(wish === "retarget" && answer.status === "fulfilled");
    if (wish === "retarget") {
      if (answer.status === "rejected") expect(["AlreadyDecided", "NotBeforeCommit"]).toContain(answer.reason.name);
    } else if (answer.status === "fulfilled") {
      expect(answer.value).toEqual(stands);
      expect(stands?.decision).toBe(wish);
    } else if (answer.reason instanceof AlreadyDecided) {
      expect(wish).not.toBe(stands?.decision);
    } else {
      expect(answer.reason).toBeInstanceOf(NotBeforeCommit);
    }
  }
  const summary = await summaryOf(world);
  expect(summary.checkpoint).toBe(operation?.retargets.at(-1)?.checkpointId ?? "1-12");
  expect(summary.phase).toBe(stands?.decision === "commit" ? "Completed" : "RolledBack");
  const stopped = Object.keys(summary.effects).some((command) => command.endsWith(".stop-vms"));
  const promoted = Object.keys(summary.effects).some((command) => command.endsWith(".promote-volumes"));
  expect([stopped, promoted]).toEqual(stands?.decision === "commit" ? [false, true] : [true, false]);
  invariants(summary);
}
