/**
 * `npm run test:deploy`: deploys two sites on each AWS there is, and plays protection, failovers, an event that starts one, and
 * the loss of a site on them. MiniStack on this machine, installed below .cache/peers first (python3 with venv, and PyPI);
 * LocalStack where Docker is; an account of AWS with FARSHORE_TEST_AWS=1 (docs/local-aws.md). Arguments go to vitest. The table,
 * the last line and the exit status are those of `npm test`.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const options = { cwd: root, stdio: "inherit" } as const;

// Where that fails the suite says what was skipped and why.
spawnSync("sh", ["scripts/setup-peers.sh", "--yes", "ministack"], options);
const tests = ["scripts/test.ts", "--project", "deploy", ...process.argv.slice(2)];
process.exitCode = spawnSync(process.execPath, tests, options).status ?? 1;
