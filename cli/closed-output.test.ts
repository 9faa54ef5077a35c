import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";

it("ends quietly when nobody reads its output any more", async () => {
  const main = new URL("./main.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, "cost", "--change-rate", "4KiB", "--volumes", "100GiB"]);
  child.stdout.destroy();
  const [said, [status]] = await Promise.all([text(child.stderr), once(child, "exit")]);
  expect({ said, status }).toEqual({ said: "", status: 0 });
});
