import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** How long it may take to answer first; it takes a second. */
const readyMsMax = 60_000;

/** How long an invocation is waited for that is to be killed. */
const killMsMax = 2000;

const lineSchema = z.object({ port: z.int() });
const killedSchema = z.object({ killed: z.string().nullable() });

const server = fileURLToPath(new URL("serve-ministack.py", import.meta.url));
const python = fileURLToPath(new URL("../../.cache/peers/ministack/bin/python", import.meta.url));

export interface MinistackPlan {
  /** Made if it isn't there: its log and its temporary files. Whoever names it removes it, after `stop`. */
  readonly directory: string;
  readonly region: string;
  /** Twelve digits; `000000000000` by default. */
  readonly accountId?: string;
  /** Whether it checks signatures and evaluates IAM and bucket policies; true by default. */
  readonly authorization?: boolean;
  /** A folder that several share: the credentials of each are known to all, as they are on AWS. */
  readonly neighbours?: string;
}

export interface Ministack {
  readonly endpoint: string;
  readonly region: string;
  readonly accountId: string;
  /** What the SDK, the CDK and farshore read from the environment to speak to it as the account's root. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Freezes it and the processes of its functions, as a region that is out of reach; nothing is lost. */
  freeze(): void;
  /** Lets it go on where it was. */
  thaw(): void;
  /**
   * Kills the process of the next invocation of a function whose name matches, `afterMs` after it began, by SIGKILL; its caller sees
   * that the runtime ended. The function's name; undefined when no such invocation came within some seconds, none ran so long, or all
   * were cold starts.
   */
  killFunction(functions: RegExp, afterMs: number): Promise<string | undefined>;
  /** Ends it and the processes of its functions as a power cut would; what it held is gone. */
  stop(): Promise<void>;
}

export function ministackIsInstalled(): boolean {
  return existsSync(python);
}

/**
 * Starts a local AWS of its own on a free port of 127.0.0.1; resolves once it answers. docs/local-aws.md says what it shows and
 * what not. It ends with this process, however that ends.
 */
export async function startMinistack(plan: MinistackPlan): Promise<Ministack> {
  const { directory, region, accountId = "000000000000", authorization = true, neighbours } = plan;
  const temporary = join(directory, "tmp");
  mkdirSync(temporary, { recursive: true });
  if (neighbours !== undefined) mkdirSync(neighbours, { recursive: true });
  // The worker of a function is CommonJS; a package around the directory may say otherwise.
  writeFileSync(join(temporary, "package.json"), "{}\n");
  const logFile = join(directory, "ministack.log");
  // A key of its own for each account: the CDK remembers which account a key is of.
  const root = { AWS_ACCESS_KEY_ID: `AKIAFARS${accountId}`, AWS_SECRET_ACCESS_KEY: "local" };
  const log = openSync(logFile, "a");
  // Nothing else of this environment: functions would see it, and an endpoint in it would win over their own site's.
  const child = spawn(python, [server], {
    stdio: ["pipe", "pipe", log],
    env: {
      ...root,
      PATH: [dirname(process.execPath), process.env["PATH"] ?? ""].join(delimiter),
      HOME: directory,
      TMPDIR: temporary,
      STATE_DIR: temporary,
      PYTHONUTF8: "1",
      AUTH: String(authorization),
      MINISTACK_REGION: region,
      MINISTACK_ACCOUNT_ID: accountId,
      SFTP_ENABLED: "0",
      IOT_MTLS_ENABLED: "0",
      ...(neighbours === undefined ? {} : { NEIGHBOURS: neighbours }),
    },
  });
  closeSync(log);
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  try {
    const endpoint = `http://127.0.0.1:${await firstPort(child, gone)}`;
    return {
      endpoint,
      region,
      accountId,
      env: {
        ...root,
        // Empty is none: a profile or a token of this machine's user would win, or not fit.
        AWS_PROFILE: "",
        AWS_SESSION_TOKEN: "",
        AWS_ENDPOINT_URL: endpoint,
        AWS_REGION: region,
        AWS_DEFAULT_REGION: region,
      },
      logFile,
      freeze: () => signalGroup(child, "SIGSTOP"),
      thaw: () => signalGroup(child, "SIGCONT"),
      async killFunction({ source }, afterMs) {
        const query = new URLSearchParams({ functions: source, afterMs: `${afterMs}`, withinMs: `${killMsMax}` });
        const reply = await fetch(`${endpoint}/_local/kill?${query}`, { method: "POST" });
        return killedSchema.parse(await reply.json()).killed ?? undefined;
      },
      async stop() {
        signalGroup(child, "SIGKILL");
        await gone;
      },
    };
  } catch (cause) {
    signalGroup(child, "SIGKILL");
    await gone;
    throw new Error(`MiniStack did not start:\n${readFileSync(logFile, "utf8").slice(-2000)}`, { cause });
  }
}

/** The port that the server prints once it answers. */
function firstPort(child: ChildProcess, gone: Promise<void>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const timer = setTimeout(() => reject(new Error(`no answer in ${readyMsMax} ms`)), readyMsMax);
  child.once("error", reject);
  void gone.then(() => reject(new Error("it ended")));
  if (child.stdout === null) throw new TypeError("the server's output is not read");
  createInterface(child.stdout).once("line", (line) => resolve(lineSchema.parse(JSON.parse(line)).port));
  return promise.finally(() => clearTimeout(timer));
}

/** The server is the leader of a group that its functions' processes are in. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  for (const pid of [-child.pid, child.pid]) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone already, or told before it had made its group.
    }
  }
}
