/** Takes a directory's lock, says `held` or the refusal's message, and stays until it is killed: `node hold-lock.ts DIR PURPOSE`. */
import { writeSync } from "node:fs";
import { acquireLock } from "#adapters/embedded/process-lock.ts";

const [directory = "", purpose = ""] = process.argv.slice(2);
try {
  acquireLock(directory, purpose);
  writeSync(1, "held\n");
  setInterval(() => undefined, 60_000);
} catch (error) {
  writeSync(1, `${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}\n`);
}
