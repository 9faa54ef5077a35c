import { expect, it } from "vitest";
import { moveOptions } from "./move.ts";

const flags = { grace: "5m", commitPolicy: "none", source: "keep" } as const;

it("asks for reverse protection only when it was named", () => {
  const plain = { graceMs: 300_000, commitPolicy: { action: "none" }, source: "keep", verify: false };
  expect(moveOptions(flags)).toEqual(plain);
  expect(moveOptions({ ...flags, reverseProtection: true })).toEqual({ ...plain, reverseProtection: true });
});

it("refuses reverse protection after the source's removal, before anybody is asked to confirm", () => {
  expect(moveOptions({ ...flags, source: "remove" })).toMatchObject({ source: "remove" });
  expect(() => moveOptions({ ...flags, source: "remove", reverseProtection: true })).toThrow(
    expect.objectContaining({ name: "InvalidInput", message: expect.stringContaining("keep the source") }),
  );
});
