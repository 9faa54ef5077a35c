import { expect, it } from "vitest";
import { askedBy } from "./asked.ts";
import { stepsDefault } from "./limits.ts";

it("without options it is a minute of fresh seeds, with a seed that world alone", () => {
  expect(askedBy([])).toMatchObject({ seed: undefined, minutes: 1, steps: stepsDefault, faults: undefined });
  expect(askedBy(["--seed", "0", "--faults", "rot, cut link"])).toMatchObject({
    ...{ seed: 0, minutes: 0, faults: ["rot", "cut link"] },
  });
  expect(askedBy(["--minutes", "0.5"]).minutes).toBe(0.5);
});

it.each([
  ["--seed", "1.5"],
  ["--seed", "-1"],
  ["--seed", "1e3"],
  ["--seed", "99999999999999999999"],
  ["--seed", ""],
  ["--steps", "0"],
  ["--steps", "many"],
  ["--shrink-runs", "0.1"],
  ["--minutes", "Infinity"],
  ["--minutes", ""],
  ["--faults", "rust"],
])("%s %s is refused by name", (option, value) => {
  expect(() => askedBy([`${option}=${value}`])).toThrow(option);
});

it("nor is there an option that is not one", () => {
  expect(() => askedBy(["--sed", "1"])).toThrow("--sed");
});
