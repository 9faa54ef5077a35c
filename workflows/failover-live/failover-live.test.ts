import { describe, it } from "vitest";
import { liveScenarios } from "../../test/workflows/live-scenarios.ts";
import { check } from "../../test/workflows/scenario.ts";

describe("failover-live", () => {
  it.each(liveScenarios)("$name", (scenario) => check(scenario));
});
