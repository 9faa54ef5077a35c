import { describe, expect, it } from "vitest";
import { summaryOf } from "../../test/kit/failover-summary.ts";
import { moveScenarios } from "../../test/workflows/move-scenarios.ts";
import { check, play } from "../../test/workflows/scenario.ts";
import move from "./move.asl.json" with { type: "json" };

describe("move", () => {
  it.each(moveScenarios)("$name", (scenario) => check(scenario));

  it("would leave a write behind without the close of the source, which is what the report's figure shows", async () => {
    const scenario = moveScenarios.find(({ name }) => name.startsWith("the policy commits at once"));
    if (scenario === undefined) throw new TypeError("no such scenario");
    const { CheckShutdownSource: shutdown, ...States } = move.States;
    const undrained = {
      ...move,
      States: { ...States, CheckShutdownSource: { ...shutdown, Next: "ResolveCheckpoint" } },
    };
    const writesLeft = async (document: unknown): Promise<number | undefined> => {
      const world = await play(scenario, { document });
      try {
        return (await summaryOf(world)).lostTail?.writes;
      } finally {
        world.close();
      }
    };
    expect(await writesLeft(move)).toBe(0);
    expect(await writesLeft(undrained)).toBe(1);
  });
});
