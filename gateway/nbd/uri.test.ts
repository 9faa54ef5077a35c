import { expect, it } from "vitest";
import { formatNbdUri, parseNbdUri } from "./uri.ts";

it.each([
  [{ socketPath: "/run/far shore/a+b.sock" }, "shop/db/data"],
  [{ host: "127.0.0.1", port: 10_809 }, "shop/db/data"],
])("reads what it wrote: %o", (address, exportName) => {
  expect(parseNbdUri(formatNbdUri(address, exportName))).toEqual({ address, exportName });
});

it("takes the registered port when there is none", () => {
  expect(parseNbdUri("nbd://localhost/x").address).toEqual({ host: "localhost", port: 10_809 });
});

it.each(["", "x", "nbds://h/x", "nbd+unix:///x", "http://h/x"])("refuses %o by name", (uri) => {
  expect(() => parseNbdUri(uri)).toThrow(expect.objectContaining({ name: "InvalidInput" }));
});
