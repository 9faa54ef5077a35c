import { expect, it } from "vitest";
import {
  Corrupt,
  errorFromWire,
  errorNames,
  Fenced,
  InvalidInput,
  OperationInProgress,
  Transient,
} from "#core/errors.ts";
import { toExitCode } from "./exit.ts";

it.each([
  [new InvalidInput("x"), 2],
  [new Transient("x"), 1],
  [new OperationInProgress("x"), 1],
  [new Corrupt("x"), 1],
  [new Fenced("x"), 1],
  [new Error("x"), 1],
  ["x", 1],
])("%s exits with %i", (error, code) => {
  expect(toExitCode(error)).toBe(code);
});

it("knows every contract name", () => {
  for (const name of errorNames) expect([1, 2]).toContain(toExitCode(errorFromWire(name, "x")));
});
