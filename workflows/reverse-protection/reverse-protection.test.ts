import { describe, it } from "vitest";
import { checkReverse, reverseScenarios } from "../../test/workflows/reverse-scenarios.ts";

describe("reverse-protection", () => {
  it.each(reverseScenarios)("$name", (scenario) => checkReverse(scenario));
});
