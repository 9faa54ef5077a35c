import { describe, it } from "vitest";
import { check } from "../../test/workflows/scenario.ts";
import { testScenarios } from "../../test/workflows/test-scenarios.ts";

describe("failover-test", () => {
  it.each(testScenarios)("$name", (scenario) => check(scenario));
});
