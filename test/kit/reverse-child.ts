/**
 * A gateway with promoted disks in a process of its own: `reverse-child.ts FOLDER SITE_URL COMMANDS [CHANGES]`. FOLDER has its state, its
 * recovery directory and the bucket that views are read from. COMMANDS is a JSON list of command bodies that it runs in order; each
 * one's end is told on standard output, and then it serves until SIGTERM. CHANGES as in kill-after.ts.
 */
import path from "node:path";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { commandBodySchema } from "#core/protection/command.ts";
import { killAfter } from "./kill-after.ts";
import { runCommand } from "./recovery.ts";
import { ReverseGateway } from "./reverse-gateway.ts";

const [folder = "", url = "", commands = "[]", changes] = process.argv.slice(2);
const objects = await FileObjects.open(path.join(folder, "bucket"), { readOnly: true });
if (changes !== undefined) killAfter(Number(changes));
const gateway = await ReverseGateway.start(folder, { url }, { objects });
console.log(JSON.stringify({ kind: "ready" }));
for (const body of commandBodySchema.array().parse(JSON.parse(commands))) {
  const context = { commandId: "c", signal: new AbortController().signal, progress: () => undefined };
  const protect = gateway.handlers["protect-volumes"];
  if (body.kind === "protect-volumes") await protect?.(body, context);
  else await runCommand(gateway.recovery, body);
  console.log(JSON.stringify({ kind: body.kind }));
}
const { promise, resolve } = Promise.withResolvers<void>();
process.once("SIGTERM", () => resolve());
// Signals keep no process alive.
const alive = setInterval(() => undefined, 1000);
await promise;
clearInterval(alive);
await gateway.close();
