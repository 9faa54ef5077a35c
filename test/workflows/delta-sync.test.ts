import { describe, it } from "vitest";
import { check } from "./scenario.ts";
import { syncScenarios } from "./sync-scenarios.ts";

describe("a delta-sync goes as its document says", () => {
  it.each(syncScenarios)("$name", (scenario) => check(scenario));
});
