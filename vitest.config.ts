import { defineConfig } from "vitest/config";
import { LongestFirst } from "./scripts/longest-first.ts";

/** A worker on each core: vitest would leave one to itself, half of a small machine, and needs little of it. */
const maxWorkers = "100%";

/**
 * One project per kind of test; the folder or suffix says the kind (CONTRIBUTING.md). The groups run one after the other: what
 * starts whole sites and gateways would starve what runs beside it. Two of these at a time wait for each other little: a third of
 * the time of each goes into waiting for heartbeats and checkpoints.
 */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          sequence: { groupOrder: 0 },
          include: [
            "{core,adapters,functions,gateway,cli,workflows,scripts,bench,infra}/**/*.test.ts",
            "test/{house,model}/**/*.test.ts",
          ],
          testTimeout: 30_000,
          maxWorkers,
        },
      },
      {
        test: {
          // Of virtual time alone: they take cores and nothing else, and disturb nobody.
          name: "workflows",
          sequence: { groupOrder: 0 },
          include: ["test/workflows/**/*.test.ts"],
          testTimeout: 300_000,
          maxWorkers,
        },
      },
      {
        test: {
          name: "whole",
          sequence: { groupOrder: 1 },
          include: [
            "test/{cycle,preseed,exactness,fencing,simulation,triggers,badinput,runbook,readme,package}/**/*.test.ts",
          ],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "interop",
          sequence: { groupOrder: 2 },
          include: ["test/interop/**/*.test.ts"],
          testTimeout: 600_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "deploy",
          sequence: { groupOrder: 3 },
          include: ["test/deploy/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 1_200_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
