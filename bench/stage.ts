import { readdirSync } from "node:fs";
import { setPriority } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { Processes } from "../scripts/demo/processes.ts";
import { type Plan, type Stage, setStage, until, vpg } from "../scripts/demo/stage.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { niceMost, pollMs, replicatingMs } from "./limits.ts";

/** The demo's stage: two sites and two gateways as processes of their own, on this machine. */
export class BenchStage {
  readonly stage: Stage;
  readonly processes: Processes;

  private constructor(stage: Stage, processes: Processes) {
    this.stage = stage;
    this.processes = processes;
  }

  /** Resolves when all processes have been started, not yet when they replicate. */
  static async set(directory: string, plan: Plan): Promise<BenchStage> {
    const processes = new Processes(directory);
    try {
      return new BenchStage(await setStage(processes, directory, plan), processes);
    } catch (error) {
      await processes.stopAll();
      throw error;
    }
  }

  stop(): Promise<void> {
    return this.processes.stopAll();
  }

  /** Leaves the CPU to everyone else: for a part of the stage that would run on a machine of its own. */
  giveWay(name: string): void {
    for (const thread of readdirSync(`/proc/${this.processes.pid(name)}/task`)) setPriority(Number(thread), niceMost);
  }

  async view(): Promise<VpgView> {
    const { FARSHORE_SITE: url, FARSHORE_TOKEN: token } = this.stage.env;
    const reply = await fetch(`${url}/v1/vpgs/${vpg}`, { headers: { authorization: `Bearer ${token}` } });
    return vpgViewSchema.parse(await reply.json());
  }

  /** Resolves when a checkpoint holds everything written before the call, and nothing is on its way or syncing. */
  async settled(): Promise<VpgView> {
    const quietAt = Date.now();
    return await until("replication to come to rest", replicatingMs, async () => {
      const view = await this.view();
      const holds = (view.newestCheckpoint?.validThrough ?? 0) > quietAt;
      return holds && view.mode === "replicating" && view.backlogBytes === 0 ? view : undefined;
    });
  }

  /** Resolves with the first checkpoint in sight, looked for often. */
  async firstCheckpoint(): Promise<VpgView> {
    for (const deadline = performance.now() + replicatingMs; performance.now() < deadline; await pause(pollMs)) {
      const view = await this.view();
      if (view.checkpoints > 0) return view;
    }
    throw new Error("gave up waiting for the first checkpoint");
  }

  /** CPU that a process of the stage has used; NaN where there is no /proc. */
  cpuSeconds(name: string): number {
    return cpuSecondsOf(this.processes.pid(name));
  }
}
