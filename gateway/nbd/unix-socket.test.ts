import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bindUnixSocket } from "./unix-socket.ts";

const folder = mkdtempSync(join(tmpdir(), "fs-socket-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("makes the socket's folder, for its owner alone", async () => {
  const server = createServer();
  await bindUnixSocket(server, join(folder, "run/a.sock"));
  expect(statSync(join(folder, "run")).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, "run/a.sock")).mode & 0o777).toBe(0o600);
  await new Promise((resolve) => server.close(resolve));
});

it("says which path it can't listen on, and why", async () => {
  writeFileSync(join(folder, "file"), "");
  await expect(bindUnixSocket(createServer(), join(folder, "file/a.sock"))).rejects.toMatchObject({
    name: "InvalidInput",
    message: expect.stringContaining("file/a.sock"),
  });
});
