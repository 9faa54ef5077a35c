/** The demo's boot hook, in the place of `virsh start`: notes what it was given, once per boot. */
import { appendFileSync } from "node:fs";

const [log = ""] = process.argv.slice(2);
const given = Object.entries(process.env).filter(([name]) => name.startsWith("FARSHORE_") && name !== "FARSHORE_TOKEN");
appendFileSync(log, `${JSON.stringify(Object.fromEntries(given))}\n`);
