/**
 * A recovery half in a process of its own: `recovery-child.ts FOLDER COMMANDS [CHANGES]`. The bucket is FOLDER/bucket, COMMANDS a JSON list
 * of command bodies that it runs in order; each one's end is told on standard output. After so many CHANGES to the world (files opened,
 * renamed, removed, written, synced, processes started) it kills itself with SIGKILL before the next one.
 */
import path from "node:path";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { type CommandBody, commandBodySchema } from "#core/protection/command.ts";
import { killAfter } from "./kill-after.ts";
import { QuietLog } from "./quiet-log.ts";
import { openKit, recordingHooks, runCommand } from "./recovery.ts";

const [folder = "", commands = "[]", changes] = process.argv.slice(2);
const log = new QuietLog();
const half = await openKit({
  folder,
  objects: await FileObjects.open(path.join(folder, "bucket"), { readOnly: true }),
  hooks: new Map([["db", recordingHooks("db")]]),
  clock: new SystemClock(),
  log,
});
if (changes !== undefined) killAfter(Number(changes));
console.log("ready");
await half.resume();
for (const entry of log.entries) console.error(entry);
const bodies: CommandBody[] = commandBodySchema.array().parse(JSON.parse(commands));
for (const body of bodies) {
  const result = await runCommand(half, body);
  console.log(JSON.stringify({ kind: body.kind, result }));
}
await half.close();
