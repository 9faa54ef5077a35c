/**
 * The demo's hooks, in the place of `virsh start`, `virsh shutdown` and `virsh domstate`: note what they were given, a line a run, and
 * keep a file while the VM "runs".
 *
 *   node scripts/demo/hook.ts LOG RUNNING_FILE
 */
import { appendFileSync, existsSync, rmSync, writeFileSync } from "node:fs";

const [log = "", running = ""] = process.argv.slice(2);
const action = process.env["FARSHORE_ACTION"];
if (action === "status") process.exit(existsSync(running) ? 0 : 3);
const given = Object.entries(process.env).filter(([name]) => name.startsWith("FARSHORE_") && name !== "FARSHORE_TOKEN");
appendFileSync(log, `${JSON.stringify(Object.fromEntries(given))}\n`);
if (action === "boot") writeFileSync(running, "");
else rmSync(running, { force: true });
