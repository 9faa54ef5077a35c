import { defineConfig } from "vitest/config";

/**
 * One project per kind of test; the folder or suffix says the kind (CONTRIBUTING.md). The groups run one after the other: what
 * starts whole sites and gateways would starve what runs beside it.
 */
export default defineConfig({
  test: {
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
        },
      },
      {
        test: {
          name: "whole",
          sequence: { groupOrder: 1 },
          include: [
            "test/{cycle,preseed,exactness,fencing,simulation,workflows,triggers,badinput,runbook,readme,package}/**/*.test.ts",
          ],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
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
