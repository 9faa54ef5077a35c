import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import type { Phase } from "#core/protection/operation.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { until } from "../../scripts/demo/stage.ts";
import { servedVpg } from "../kit/served-site.ts";
import { type BarrierMode, cleanUpGateways, TwoGateways } from "../kit/two-gateways.ts";
import { judge } from "./oracle.ts";
import { Storm } from "./storm.ts";

const volumeBytes = 2 * 2 ** 20;
cleanUpGateways();

async function contents(uri: string): Promise<Buffer> {
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  const bytes = Buffer.alloc(volumeBytes);
  await client.readInto(0, bytes);
  await client.disconnect();
  return bytes;
}

/** Two source gateways, a recovery gateway, and clients that write to both disks, and try again and again when they are dropped. */
class MovedGroup {
  readonly stage: TwoGateways;
  readonly #logFile: string;
  readonly #random: SeededRandom;
  #storm: Storm | undefined;

  private constructor(stage: TwoGateways, seed: number) {
    this.stage = stage;
    this.#random = new SeededRandom(seed);
    this.#logFile = join(stage.site.directory, "writes.jsonl");
    writeFileSync(this.#logFile, "");
  }

  static async start(seed: number, lyon: BarrierMode = "fair"): Promise<MovedGroup> {
    const stage = await TwoGateways.start(volumeBytes);
    stage.run("paris");
    stage.run("lyon", lyon);
    stage.runRecovery();
    await stage.checkpoints(1, 0);
    return new MovedGroup(stage, seed);
  }

  /** Resolves when it writes at full speed. */
  async write(): Promise<void> {
    const uris = new Map([
      [1, this.stage.uri("paris")],
      [2, this.stage.uri("lyon")],
    ]);
    const plan = { uris, volumeBytes, logFile: this.#logFile, random: this.#random, connectionsPerVolume: 2 };
    const storm = new Storm({ ...plan, firstId: this.#storm?.nextId ?? 1 });
    this.#storm = storm;
    storm.start();
    await until("writes", 60_000, async () => (storm.acknowledged > 150 ? true : undefined));
  }

  async stopWriting(): Promise<number> {
    await this.#storm?.stop();
    return this.#storm?.acknowledged ?? 0;
  }

  /** What the clients' own log says against the recovered disks: every write that was ever acknowledged must show. */
  async wrong({ exports }: OperationView): Promise<string[]> {
    const images = new Map<number, Buffer>();
    for (const volume of [1, 2]) images.set(volume, await contents(exports[String(volume)] ?? ""));
    return judge(this.#logFile, images, Date.now() + 1);
  }

  async farshore(...args: string[]): Promise<OperationView> {
    return operationViewSchema.parse(await this.stage.farshore(...args));
  }

  /** The open or newest operation, without the time that a program takes to start. */
  async operation(): Promise<OperationView | undefined> {
    const answer = await this.stage.site.call("/v1/operations", { token: this.stage.site.tokens.viewer });
    const { operations } = z.object({ operations: z.array(operationViewSchema) }).parse(answer.json());
    return operations.toSorted((left, right) => right.createdAt - left.createdAt)[0];
  }

  async inPhase(...wanted: readonly Phase[]): Promise<OperationView> {
    for (let tries = 0; tries < 12_000; tries += 1) {
      const operation = await this.operation();
      if (operation !== undefined && wanted.includes(operation.phase)) return operation;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never ${wanted.join(", ")}: ${JSON.stringify(await this.operation())}`);
  }

  /** Resolves when both disks are exported for writing. */
  async takesWrites(ms = 120_000): Promise<void> {
    for (const name of ["paris", "lyon"] as const) {
      await until(`${name} to take writes`, ms, async () => {
        const { address, exportName } = parseNbdUri(this.stage.uri(name));
        const client = await NbdClient.connect(address, exportName);
        await client.disconnect();
        return client.readOnly ? undefined : true;
      });
    }
  }

  logOf(name: "paris" | "lyon"): string {
    return readFileSync(join(this.stage.site.directory, `${name}.log`), "utf8");
  }
}

const start = ["move", "start", servedVpg, "--grace", "20s"] as const;

describe("a move of a group whose clients write until they are shut down, and knock on the door ever after", () => {
  it("is rolled back without a gap, and then loses nothing, by the clients' own log", async () => {
    const group = await MovedGroup.start(1);
    await group.write();
    const tried = await group.farshore(...start, "--wait");
    expect(tried).toMatchObject({ phase: "BeforeCommit", error: null });
    expect(await group.wrong(tried)).toEqual([]);
    const rolledBack = await group.farshore("move", "rollback", servedVpg, "--yes");
    expect(rolledBack).toMatchObject({ phase: "RolledBack", error: null });
    const first = await group.stopWriting();

    // Each disk goes on in a session that needed no comparison, and every checkpoint is still there.
    for (const name of ["paris", "lyon"] as const) expect(group.logOf(name)).toContain('"session":');
    for (const name of ["paris", "lyon"] as const) expect(group.logOf(name)).toContain('"sync":"none"');
    expect((await group.stage.listed()).map(({ id }) => id)).toContain(tried.checkpointId);
    await group.write();
    const moved = await group.farshore(
      ...start,
      "--verify",
      "--commit-policy",
      "commit",
      "--commit-after",
      "0",
      "--wait",
    );
    const second = await group.stopWriting();
    expect(moved).toMatchObject({ phase: "Completed", lostTail: { certainty: "exact", writes: 0 } });
    expect(moved.verdicts).toMatchObject([{ ok: true }]);
    expect(await group.wrong(moved)).toEqual([]);
    process.stdout.write(`moved twice: ${first} and ${second} acknowledged writes, none missing\n`);
  });

  it("loses what a client writes that is let in again after the close: the judge finds it out", async () => {
    const group = await MovedGroup.start(2, "reconnects");
    await group.write();
    const tried = await group.farshore(...start, "--wait");
    await group.write();
    await group.stopWriting();
    expect(await group.wrong(tried)).not.toEqual([]);
  });

  it.each(["ShuttingDownSource", "ClosingVolumes", "ProvingFinal", "BeforeCommit", "RollingBack"] as const)(
    "a source gateway killed in %s: moved whole, or back at a source that takes writes",
    async (phase) => {
      const group = await MovedGroup.start(3);
      await group.write();
      const policy = phase === "RollingBack" ? "rollback" : "commit";
      await group.farshore(
        ...start,
        "--commit-policy",
        policy,
        "--commit-after",
        phase === "BeforeCommit" ? "3s" : "0",
      );
      const ends = ["Completed", "RolledBack", "Failed"] as const;
      const seen = await group.inPhase(phase, ...ends);
      await group.stage.processes.stop("lyon", "SIGKILL");
      group.stage.run("lyon");
      const ended = await group.inPhase(...ends);
      process.stdout.write(`killed in ${seen.phase}: ${ended.phase} ${ended.error?.name ?? ""}\n`);
      if (ended.phase === "Completed") {
        await group.stopWriting();
        expect(await group.wrong(ended)).toEqual([]);
        return;
      }
      expect(ended.error?.message ?? "everything is undone").toContain("everything is undone");
      // The very clients of before write again.
      await group.stopWriting();
      await group.takesWrites();
      await group.write();
      await group.stopWriting();
    },
  );

  it("a source gateway frozen while it closes is not waited for, and opened when it is heard again", async () => {
    const group = await MovedGroup.start(4);
    await group.write();
    await group.farshore(...start, "--commit-policy", "rollback", "--commit-after", "0");
    await group.inPhase("ClosingVolumes");
    group.stage.processes.signal("lyon", "SIGSTOP");
    const ended = await group.inPhase("Failed", "RolledBack");
    process.stdout.write(`frozen while it closes: ${ended.phase} ${ended.error?.name ?? ""}\n`);
    group.stage.processes.signal("lyon", "SIGCONT");
    await group.takesWrites(180_000);
    await group.stopWriting();
    await group.write();
    await group.stopWriting();
  }, 600_000);
});
