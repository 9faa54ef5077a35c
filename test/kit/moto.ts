import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestContext } from "vitest";
import { z } from "zod";

const server = fileURLToPath(new URL("serve-moto.py", import.meta.url));
const python = fileURLToPath(new URL("../../.cache/peers/moto/bin/python", import.meta.url));

export const motoIsInstalled = (): boolean => existsSync(python);

/** Skips the test, with the cure, where moto isn't installed. */
export function requireMoto(context: TestContext): void {
  if (!motoIsInstalled()) context.skip("needs moto: npm run setup:peers");
}

export interface ServedMoto {
  readonly endpoint: string;
  readonly region: string;
  stop(): Promise<void>;
}

/** Step Functions as moto has it, in real time; its tasks call the functions behind `bridgeUrl`. It ends with this process. */
export async function serveMoto(bridgeUrl: string): Promise<ServedMoto> {
  const region = "eu-central-1";
  const keys = { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" };
  const env = { ...keys, AWS_REGION: region, BRIDGE_URL: bridgeUrl, PYTHONDONTWRITEBYTECODE: "1", PYTHONUTF8: "1" };
  const child = spawn(python, [server], { stdio: ["pipe", "pipe", "inherit"], env });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return {
    endpoint: `http://127.0.0.1:${await portOf(child, gone)}`,
    region,
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

function portOf(child: ChildProcess, gone: Promise<void>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", reject);
  void gone.then(() => reject(new Error("moto ended before it served; its error stands above")));
  if (child.stdout === null) throw new TypeError("moto's output is not read");
  createInterface(child.stdout).once("line", (line) =>
    resolve(z.object({ port: z.int() }).parse(JSON.parse(line)).port),
  );
  return promise;
}
