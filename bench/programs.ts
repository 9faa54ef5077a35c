import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { outputBytesMax, outputKeptBytes, startMs } from "./limits.ts";

const peers = fileURLToPath(new URL("../.cache/peers", import.meta.url));

/** The path of a program in PATH, where Debian keeps root's tools, or where setup:peers put Python's; or undefined. */
export function findProgram(name: string): string | undefined {
  const inPath = (process.env["PATH"] ?? "").split(delimiter);
  const folders = [...inPath, "/usr/local/sbin", "/usr/sbin", "/sbin", join(peers, name, "bin")];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Standard output of a program run to its end. Throws with its standard error when it fails. */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: outputBytesMax, env: { ...process.env, ...env } };
    execFile(program, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${args.join(" ")} failed: ${stderr.trim()}`, { cause: error }));
    });
  });
}

/** Seconds that a program takes from start to end. */
export async function timed(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const started = performance.now();
  await run(program, args, env);
  return (performance.now() - started) / 1000;
}

/** A program that runs until it is stopped. */
export class Running {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #said = "";

  constructor(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(program, [...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
    // A program that can't be started at all shows in `until`, as one that has ended.
    this.#child.on("error", (error) => this.#keep(String(error)));
    this.#exited = once(this.#child, "close").catch(() => undefined);
    this.#child.stdout?.on("data", (chunk) => this.#keep(String(chunk)));
    this.#child.stderr?.on("data", (chunk) => this.#keep(String(chunk)));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** The end of its output so far. */
  get said(): string {
    return this.#said;
  }

  /** Resolves when `ready` gives true; throws with what the program said when it ends before that or takes too long. */
  async until(ready: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + startMs;
    while (!(await ready())) {
      if (this.#child.exitCode !== null || this.#child.pid === undefined || performance.now() > deadline) {
        throw new Error(`${this.#child.spawnfile} did not come up: ${this.#said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), startMs);
    await this.#exited;
    clearTimeout(timer);
  }

  #keep(text: string): void {
    this.#said = (this.#said + text).slice(-outputKeptBytes);
  }
}
