import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import type { AwsPlace } from "#adapters/aws/clients.ts";
import { type Ministack, ministackIsInstalled, startMinistack } from "../../scripts/local-aws/ministack.ts";
import { requireMinistack } from "./require-ministack.ts";

/** A local AWS for the tests of a `describe`, which are skipped, with the cure, where there is none. It looks at no signature by default. */
export function useLocalAws({ authorization = false } = {}): { readonly place: AwsPlace; readonly aws: Ministack } {
  let running: Ministack | undefined;
  let directory: string | undefined;
  beforeAll(async () => {
    if (!ministackIsInstalled()) return;
    directory = await mkdtemp(join(tmpdir(), "farshore-aws-"));
    running = await startMinistack({ directory, region: "eu-central-1", authorization });
  }, 90_000);
  beforeEach((context) => requireMinistack(context));
  afterAll(async () => {
    await running?.stop();
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
  });
  const started = (): Ministack => {
    if (running === undefined) throw new Error("the local AWS is asked for before the tests begin");
    return running;
  };
  return {
    get aws() {
      return started();
    },
    get place() {
      const { endpoint, region, env } = started();
      const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_SECRET_ACCESS_KEY: secretAccessKey = "" } = env;
      return { endpoint, region, credentials: { accessKeyId, secretAccessKey } };
    },
  };
}
