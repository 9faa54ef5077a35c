import { spawn } from "node:child_process";
import { CommandFailed } from "#core/errors.ts";
import { hookKillGraceMs, hookOutputBytesMax, hookOutputGraceMs } from "../limits.ts";

export interface HookRun {
  /** Absolute. */
  readonly workingDirectory: string;
  /** Added to PATH, HOME, LANG and the like; names start with FARSHORE_. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HookResult {
  /** Null when a signal ended the hook. */
  readonly exitStatus: number | null;
  readonly timedOut: boolean;
  /** The end of standard output and error together, at most `hookOutputBytesMax` bytes of UTF-8. */
  readonly output: string;
}

/** What of our own environment a hook sees: nothing that could be a credential. */
const passedOn = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "LANG",
  "LC_ALL",
  "TZ",
  "TMPDIR",
  "XDG_RUNTIME_DIR",
  "DISPLAY",
  "SHELL",
];

/**
 * Runs a hook's argument vector without a shell, in its own process group, and waits for the hook's own process only: what it
 * leaves running (a VM) is meant to stay. Past `timeoutMs`, or when the signal is aborted, the whole group is ended.
 * A hook that can't be started is a `CommandFailed`; any exit status is a result.
 */
export function runHook(argv: readonly string[], run: HookRun): Promise<HookResult> {
  const [program, ...parameters] = argv;
  if (program === undefined) throw new TypeError("a hook has at least a program");
  return new Promise((resolve, reject) => {
    const output = new TailBuffer(hookOutputBytesMax);
    let timedOut = false;
    let killTimer: NodeJS.Timeout | undefined;
    const child = spawn(program, parameters, {
      cwd: run.workingDirectory,
      env: { ...inherited(), ...run.environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      shell: false,
    });
    const endGroup = (): void => {
      signalGroup(child.pid, "SIGTERM");
      killTimer = setTimeout(() => signalGroup(child.pid, "SIGKILL"), hookKillGraceMs);
    };
    const timer = setTimeout(() => {
      timedOut = true;
      endGroup();
    }, run.timeoutMs);
    const aborted = (): void => endGroup();
    run.signal?.addEventListener("abort", aborted, { once: true });
    if (run.signal?.aborted === true) endGroup();
    const settle = (): void => {
      clearTimeout(timer);
      clearTimeout(killTimer);
      run.signal?.removeEventListener("abort", aborted);
    };
    child.stdout.on("data", (bytes: Buffer) => output.add(bytes));
    child.stderr.on("data", (bytes: Buffer) => output.add(bytes));
    child.once("error", (cause) => {
      settle();
      reject(new CommandFailed(`hook ${program} can't be started: ${cause.message}`, { program }, { cause }));
    });
    child.once("exit", (exitStatus) => {
      settle();
      // "close" comes at once unless a child of the hook holds the pipes.
      const done = (): void => {
        clearTimeout(graceTimer);
        child.stdout.destroy();
        child.stderr.destroy();
        resolve({ exitStatus, timedOut, output: output.text() });
      };
      const graceTimer = setTimeout(done, hookOutputGraceMs);
      child.once("close", done);
    });
  });
}

/** Environment by which a hook knows what it is run for. */
export function hookEnvironment(facts: {
  readonly vpgName: string;
  readonly vmName: string;
  readonly operationId: string;
  readonly action: "boot" | "shutdown" | "kill" | "status" | "remove";
  /** "source" runs at the protected site; "live" and "test" at the recovery site. */
  readonly mode: "source" | "live" | "test";
  /** The VM's volumes by name, and where each is exported. */
  readonly disks: ReadonlyMap<string, string>;
}): Record<string, string> {
  return {
    FARSHORE_VPG: facts.vpgName,
    FARSHORE_VM: facts.vmName,
    FARSHORE_OPERATION: facts.operationId,
    FARSHORE_ACTION: facts.action,
    FARSHORE_MODE: facts.mode,
    ...Object.fromEntries([...facts.disks].map(([name, uri]) => [`FARSHORE_DISK_${variableName(name)}`, uri])),
  };
}

/** A volume's name as a part of an environment variable's: upper case, hyphens as underscores. */
function variableName(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}

/** One line on how a hook ended, for an error message. */
export function hookOutcome(result: HookResult): string {
  const ended = result.timedOut
    ? "took too long and was ended"
    : result.exitStatus === null
      ? "was ended by a signal"
      : `ended with status ${result.exitStatus}`;
  const output = result.output.trim();
  return output === "" ? ended : `${ended}: ${output}`;
}

/** A status hook's answer; its exit status is read as of an init script (LSB): 0 runs, 1 to 3 does not, anything else is unknown. */
export function vmState(result: HookResult): "running" | "stopped" | "unknown" {
  if (result.timedOut || result.exitStatus === null) return "unknown";
  if (result.exitStatus === 0) return "running";
  return result.exitStatus <= 3 ? "stopped" : "unknown";
}

function inherited(): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of passedOn) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

function signalGroup(pid: number | undefined, signal: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // ESRCH: it ended by itself in this moment.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Keeps the end of what was added. */
class TailBuffer {
  readonly #bytesMax: number;
  #kept: Buffer[] = [];
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(bytes: Buffer): void {
    this.#kept.push(bytes);
    this.#length += bytes.length;
    if (this.#length > 2 * this.#bytesMax) {
      this.#kept = [Buffer.concat(this.#kept).subarray(-this.#bytesMax)];
      this.#length = this.#bytesMax;
    }
  }

  text(): string {
    return Buffer.concat(this.#kept).subarray(-this.#bytesMax).toString("utf8");
  }
}
