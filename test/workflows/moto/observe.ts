import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Observed, Script } from "../script.ts";

const runner = fileURLToPath(new URL("run.py", import.meta.url));

const observedSchema = z.array(
  z.strictObject({
    status: z.string(),
    error: z.string().nullable(),
    cause: z.string().nullable(),
    output: z.unknown(),
    endedAtMs: z.int(),
    states: z.array(z.string()),
    events: z.array(z.string()),
    calls: z.array(z.strictObject({ atMs: z.int(), state: z.string(), name: z.string(), payload: z.unknown() })),
  }),
);

/** Runs scripts on moto's interpreter with the Python of its virtual environment; what it made of each, in order, within `timeoutMs`. */
export async function observeMoto(
  python: string,
  scripts: readonly Script[],
  timeoutMs: number,
): Promise<readonly Observed[]> {
  const bound = { timeout: timeoutMs, killSignal: "SIGKILL" } as const;
  const env = { PYTHONDONTWRITEBYTECODE: "1" };
  const child = spawn(python, [runner], { stdio: ["pipe", "pipe", "pipe"], env, ...bound });
  // It knows STANDARD items of a distributed Map alone; what of them it shows is what EXPRESS ones have in common with these.
  child.stdin.end(JSON.stringify(scripts).replaceAll('"ExecutionType":"EXPRESS"', '"ExecutionType":"STANDARD"'));
  const ended = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`moto's runner ended with ${code ?? "a kill"}\n${errors.slice(-4000)}`);
  return observedSchema.parse(JSON.parse(out));
}
