import { expect, it } from "vitest";
import { DiskError, nbdErrno } from "./block-device.ts";

it.each([
  ["EPERM", 1],
  ["EIO", 5],
  ["ENOMEM", 12],
  ["EINVAL", 22],
  ["ENOSPC", 28],
  ["ENOTSUP", 95],
  ["ESHUTDOWN", 108],
] as const)("answers %s with %i", (errno, value) => {
  expect(nbdErrno(new DiskError(errno, "a reason"))).toBe(value);
});

it("answers anything else with EIO", () => {
  expect(nbdErrno(new TypeError("a bug"))).toBe(5);
  expect(nbdErrno(undefined)).toBe(5);
});
