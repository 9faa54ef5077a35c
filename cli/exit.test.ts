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
import { runbookOf, toExitCode } from "./exit.ts";

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

it.each([
  [new Fenced("x"), "docs/runbook.md#fenced"],
  [new Corrupt("x"), "docs/runbook.md#corrupt"],
  [new InvalidInput("x"), undefined],
  [new Transient("x"), undefined],
  [new Error("x"), undefined],
])("%s leads to %s", (error, place) => {
  expect(runbookOf(error)).toBe(place);
});
