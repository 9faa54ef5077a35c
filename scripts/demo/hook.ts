/** The demo's hooks, in the place of `virsh start` and `virsh shutdown`: note what they were given, a line a run. */
import { appendFileSync } from "node:fs";

const [log = ""] = process.argv.slice(2);
const given = Object.entries(process.env).filter(([name]) => name.startsWith("FARSHORE_") && name !== "FARSHORE_TOKEN");
appendFileSync(log, `${JSON.stringify(Object.fromEntries(given))}\n`);
