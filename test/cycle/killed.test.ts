/**
 * The cycle with its processes killed at random: sites and gateways die with SIGKILL and come back while protection is reversed and the
 * VPG moves home. The seed gives what is killed and when, and what is written; what a kill meets is the machine's doing, so two runs of
 * one seed differ: SEED=2 npx vitest run --project whole test/cycle/killed.test.ts
 */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { checkpointSchema, type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { endedPhases } from "#core/protection/operation.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { StampGuest } from "../kit/stamp-guest.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const seed = Number(process.env["SEED"] ?? 1);
const volumes = [
  { name: "data", bytes: 6 * MiB },
  { name: "log", bytes: 2 * MiB },
];

let killer: Killer | undefined;
cleanUpStages();
// Before the stage is cleaned up: nothing may be started again behind it.
afterEach(() => killer?.stop());

/** Ends one process after the other and starts it again; each runs again before the next is killed. */
class Killer {
  readonly kills: string[] = [];
  readonly #stage: WholeStage;
  readonly #random: SeededRandom;
  readonly #names: readonly string[];
  #stopped = false;
  #loop: Promise<void> | undefined;

  constructor(stage: WholeStage, random: SeededRandom, names: readonly string[]) {
    this.#stage = stage;
    this.#random = random;
    this.#names = names;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** All of them run again when it resolves. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { processes, restart } = this.#stage;
    const starts = new Map([
      ["site-berlin", restart.site],
      ["site-paris", restart.home],
      ["gateway-paris", restart.source],
      ["gateway-berlin", restart.recovery],
    ]);
    while (!this.#stopped) {
      await this.#pause(4000);
      const name = this.#names[this.#random.below(this.#names.length)] ?? "";
      await processes.stop(name, "SIGKILL");
      this.kills.push(name);
      await this.#pause(1500);
      const lives = this.#livesOf(name);
      starts.get(name)?.();
      await until(`${name} again`, 60_000, async () => this.#livesOf(name) > lives || undefined);
    }
  }

  /** How often it has said that it runs. */
  #livesOf(name: string): number {
    const log = readFileSync(`${this.#stage.directory}/${name}.log`, "utf8");
    return log.match(/^gateway runs;|^site .* serves /gm)?.length ?? 0;
  }

  #pause(msMax: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 200 + this.#random.below(msMax)));
  }
}

type Env = WholeStage["env"];

/** Asks until the operation stands, whatever answer was lost, and then until it has ended. */
async function operate(env: Env, kind: OperationView["kind"], args: readonly string[]): Promise<OperationView> {
  const list = async (): Promise<OperationView | undefined> =>
    z
      .array(operationViewSchema)
      .parse(await farshore(["operation", "list"], env))
      .find((operation) => operation.kind === kind);
  await until(`${kind} to stand`, 120_000, async () => {
    const stands = await list();
    if (stands === undefined) await farshore(args, env);
    return stands;
  });
  return await until(`${kind} to end`, 240_000, async () => {
    const operation = await list();
    return operation !== undefined && endedPhases.includes(operation.phase) ? operation : undefined;
  });
}

/** Reads whole disks, also when their gateway was killed a moment ago. */
const readAll = (uri: string, bytes: number): Promise<Buffer> =>
  until("the disk", 60_000, async () => {
    const { address, exportName } = parseNbdUri(uri);
    const client = await NbdClient.connect(address, exportName);
    const image = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += MiB) await client.readInto(at, image.subarray(at, at + MiB));
    await client.disconnect();
    return image;
  });

const urisOf = ({ exports }: OperationView): string[] =>
  Object.entries(exports)
    .sort(([left], [right]) => Number(left) - Number(right))
    .map(([, uri]) => uri);

async function takesWrite(uri: string): Promise<boolean> {
  const { address, exportName } = parseNbdUri(uri);
  try {
    const client = await NbdClient.connect(address, exportName);
    await client.write(0, Buffer.alloc(512, 0xee)).finally(() => client.destroy());
    return true;
  } catch {
    return false;
  }
}

/** Volumes of the checkpoints that were listed at home and are no instant of the guests' writing; looks at up to five of them. */
async function brokenCheckpoints(
  { directory, homeEnv }: WholeStage,
  random: SeededRandom,
  guests: readonly StampGuest[],
  base: readonly Buffer[],
): Promise<readonly string[]> {
  const listed = z.array(checkpointSchema).parse(await farshore(["checkpoint", "list", vpg], homeEnv));
  const picked = new Set([listed.at(0), listed.at(-1)]);
  for (let more = 0; more < 3; more += 1) picked.add(listed[random.below(listed.length)]);
  const broken: string[] = [];
  for (const checkpoint of picked) {
    if (checkpoint === undefined) throw new Error("no checkpoint is listed at home");
    for (const [index, guest] of guests.entries()) {
      const output = `${directory}/instant-${checkpoint.id}-${index}`;
      const where = ["--checkpoint", checkpoint.id, "--volume", `${vm}/${volumes[index]?.name}`, "--output", output];
      await farshore(["view", "write", vpg, "--offline", `${directory}/paris`, ...where], homeEnv);
      const wrong = guest.wrongBlocksOfInstant(readFileSync(output), base[index] ?? Buffer.alloc(0));
      if (wrong.length > 0) broken.push(`${checkpoint.id}, volume ${index + 1}: blocks ${wrong.join(" ")}`);
    }
  }
  return broken;
}

/** Says whether anybody took a write there, asked again and again until it is stopped. */
class Intruder {
  accepted = 0;
  readonly #uri: string;
  #stopped = false;
  #loop: Promise<void>;

  constructor(uri: string) {
    this.#uri = uri;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (await takesWrite(this.#uri)) this.accepted += 1;
      else await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("the cycle with processes killed at random", () => {
  it(`ends in named states, with one writer and no acknowledged write lost, seed ${seed}`, {
    timeout: 600_000,
  }, async () => {
    const stage = await wholeStage({ volumes, checkpointInterval: "1s", bothWays: true });
    const random = new SeededRandom(seed);
    const before = stage.sourceUris.map((uri, index) => new StampGuest(uri, seed + index));
    for (const guest of before) guest.start();
    await settled(stage);
    for (const guest of before) await guest.stop();
    const live = await stage.operate("failover", "live", vpg, "--wait");
    await stage.operate("failover", "commit", vpg);
    const uris = urisOf(live);
    const base = await Promise.all(uris.map((uri, index) => readAll(uri, volumes[index]?.bytes ?? 0)));

    const guests = uris.map((uri, index) => new StampGuest(uri, seed + 10 + index, 0x6000_0000));
    for (const guest of guests) guest.start();
    // The old source takes writes until it hears of its successor.
    await until("the fence", 60_000, async () => ((await takesWrite(stage.sourceUris[0] ?? "")) ? undefined : true));
    const old = new Intruder(stage.sourceUris[0] ?? "");
    killer = new Killer(stage, random, ["site-berlin", "site-paris", "gateway-paris", "gateway-berlin"]);
    killer.start();
    const reverse = await operate(stage.env, "reverse-protection", ["reverse-protection", "start", vpg]);
    expect(reverse.phase).toBe("Completed");
    const commit = ["--commit-policy", "commit", "--commit-after", "0"];
    let move = await operate(stage.homeEnv, "move", ["move", "start", vpg, ...commit]);
    await killer.stop();
    console.info(`killed: ${killer.kills.join(", ")}; the first move ended as ${move.phase}`);
    expect(["Completed", "RolledBack", "Failed"]).toContain(move.phase);
    if (move.phase !== "Completed") {
      await until("the source again", 120_000, async () =>
        (await show(stage.homeEnv)).mode === "replicating" ? true : undefined,
      );
      move = await until("a whole move", 240_000, async () =>
        operationViewSchema.parse(await farshore(["move", "start", vpg, ...commit, "--wait"], stage.homeEnv)),
      );
    }
    expect(move.phase).toBe("Completed");
    await old.stop();
    expect(old.accepted, "writes that the old source took").toBe(0);
    const late = new Intruder(uris[1] ?? "");
    for (const [index, guest] of guests.entries()) {
      await guest.stop();
      expect(guest.written).toBeGreaterThan(0);
      const home = await readAll(urisOf(move)[index] ?? "", volumes[index]?.bytes ?? 0);
      expect(guest.wrongBlocks(home, base[index]), `volume ${index + 1} at home`).toEqual([]);
    }
    expect(await brokenCheckpoints(stage, random, guests, base)).toEqual([]);
    await late.stop();
    expect(late.accepted, "writes that the other site took after the move").toBe(0);
  });
});
