import { describe, it } from "vitest";
import { moveScenarios } from "../../test/workflows/move-scenarios.ts";
import { check } from "../../test/workflows/scenario.ts";

describe("move", () => {
  it.each(moveScenarios)("$name", (scenario) => check(scenario));
});
