import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";

/** The program from source, or an installed one to be tried instead. */
const cli = process.env["FARSHORE_PROGRAM"] ?? new URL("../../cli/main.ts", import.meta.url).pathname;

/** Starts and ends the demo's processes; nothing of it is left running. */
export class Processes {
  readonly #running = new Map<string, ChildProcess>();
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A long-running process; what it prints goes to `<name>.log`. */
  start(
    name: string,
    script: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    return this.startProgram(name, process.execPath, [script, ...args], env);
  }

  startProgram(
    name: string,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const log = openSync(`${this.#directory}/${name}.log`, "a");
    const child = spawn(program, [...args], {
      stdio: ["ignore", log, log],
      env: { ...process.env, ...env },
    });
    this.#running.set(name, child);
    child.once("exit", () => this.#running.delete(name));
    return child;
  }

  startCli(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return this.start(name, cli, args, env);
  }

  pid(name: string): number {
    const pid = this.#running.get(name)?.pid;
    if (pid === undefined) throw new Error(`${name} is not running; see ${this.#directory}/${name}.log`);
    return pid;
  }

  signal(name: string, signal: NodeJS.Signals): void {
    process.kill(this.pid(name), signal);
  }

  /** Ends a process and waits for it. */
  async stop(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.stop(name, "SIGKILL")));
  }
}

/** Runs a script to its end; its standard output. */
export function run(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 };
    execFile(process.execPath, [script, ...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(new Error(`${script} ${args.join(" ")} ended with ${error.code}: ${stderr.trim()}`, { cause: error }));
    });
  });
}

/** `farshore ... --json` against a site. */
export async function farshore(args: readonly string[], env: Readonly<Record<string, string>>): Promise<unknown> {
  return JSON.parse(await run(cli, ["--json", ...args], env));
}
