import { expect, it } from "vitest";
import { liveOptions } from "./failover.ts";

const flags = { checkpoint: "latest", shutdown: "none", grace: "5m", commitPolicy: "none" } as const;

it("takes the field's defaults", () => {
  expect(liveOptions(flags)).toEqual({
    checkpoint: { kind: "latest" },
    shutdown: { policy: "none", graceMs: 300_000 },
    commitPolicy: { action: "none" },
  });
});

it("takes 0 as at once", () => {
  expect(liveOptions({ ...flags, commitPolicy: "commit", commitAfter: "0" }).commitPolicy).toEqual({
    action: "commit",
    afterMs: 0,
  });
});

it.each([
  [{ ...flags, commitPolicy: "rollback" as const }, /needs --commit-after/],
  [{ ...flags, commitAfter: "5m" }, /needs --commit-policy/],
  [{ ...flags, grace: "five" }, /not a duration/],
])("refuses %o", (given, message) => {
  expect(() => liveOptions(given)).toThrow(message);
});
