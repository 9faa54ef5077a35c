import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { z } from "zod";
import { type CheckpointView, checkpointSchema, type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { farshore, Processes } from "../../scripts/demo/processes.ts";
import { type Plan, type Stage, setStage, show, until, vm, vpg } from "../../scripts/demo/stage.ts";

export interface WholeStage extends Stage {
  readonly processes: Processes;
  /** Newest first; `--offline` and other arguments are handed on. */
  list(...args: string[]): Promise<readonly CheckpointView[]>;
  /** The volume's bytes as of a checkpoint, read offline from the recovery site's directory. */
  image(checkpoint: string, volume: string): Promise<Buffer>;
  operate(...args: string[]): Promise<OperationView>;
}

const running: { processes: Processes; directory: string }[] = [];

/** Kills what a test started and removes its files, however it ended. */
export function cleanUpStages(after: (clean: () => Promise<void>) => void = afterEach): void {
  after(async () => {
    for (const { processes, directory } of running.splice(0)) {
      await processes.stopAll();
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

/** Two sites and two gateways as processes of their own; resolves when the first checkpoint is listed. */
export async function wholeStage(plan: Plan): Promise<WholeStage> {
  const directory = mkdtempSync(join(tmpdir(), "fs-"));
  const processes = new Processes(directory);
  running.push({ processes, directory });
  const stage = await setStage(processes, directory, plan);
  await until("the first checkpoint", 60_000, async () => ((await show(stage.env)).checkpoints > 0 ? true : undefined));
  return {
    ...stage,
    processes,
    async list(...args) {
      return z
        .array(checkpointSchema)
        .parse(await farshore(["checkpoint", "list", vpg, "--limit", "100000", ...args], stage.env));
    },
    async image(checkpoint, volume) {
      const output = join(directory, "image");
      const where = ["--offline", `${directory}/berlin`, "--checkpoint", checkpoint, "--volume", `${vm}/${volume}`];
      await farshore(["view", "write", vpg, ...where, "--output", output], stage.env);
      const image = readFileSync(output);
      rmSync(output);
      return image;
    },
    async operate(...args) {
      return operationViewSchema.parse(await farshore(args, stage.env));
    },
  };
}

/** Waits until the newest checkpoint is known to hold after this moment: all that was written before is in it. */
export async function settled(stage: Stage, ms = 60_000): Promise<void> {
  const quietAt = Date.now();
  await until("a checkpoint that still holds", ms, async () =>
    ((await show(stage.env)).newestCheckpoint?.validThrough ?? 0) > quietAt ? true : undefined,
  );
}
