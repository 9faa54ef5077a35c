import { describe, expect, it } from "vitest";
import { deltaSyncLimits } from "#core/delta-sync/limits.ts";
import { summaryOf } from "../kit/failover-summary.ts";
import { liveScenarios } from "./live-scenarios.ts";
import { moveScenarios } from "./move-scenarios.ts";
import { numbersTo, samplerOf, sweepTimeoutMs } from "./sample.ts";
import { invariants, play } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";

/** Longer than any command lives without a word. */
const awayMs = 2 * deltaSyncLimits.commandExpiryMs;

/** Their gateways work for long, and tell of it. */
const scenarios = [...liveScenarios, ...moveScenarios, ...syncScenarios].filter(({ name }) =>
  /^slow gateways/.test(name),
);

/** Events after which a scenario's site goes away in one run. */
const sampledMax = 24;
const { sample, repeat } = samplerOf("test/workflows/away.test.ts", "away");

describe("the site is away for longer than any command lives, while its gateways work on", () => {
  it.each(scenarios)("$name", { timeout: sweepTimeoutMs }, async (scenario) => {
    const whole = await play(scenario);
    const summary = await summaryOf(whole);
    whole.close();
    for (const event of sample(numbersTo(whole.events), sampledMax)) {
      const world = await play(scenario, { killAt: { event }, awayMs });
      try {
        const end = await summaryOf(world);
        expect({ event, kills: world.kills, end }, `repeat: ${repeat}`).toEqual({ event, kills: 1, end: summary });
        invariants(end);
      } finally {
        world.close();
      }
    }
  });
});
