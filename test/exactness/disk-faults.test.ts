import { appendFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { type CheckpointView, checkpointListSchema } from "#core/api/site-api.ts";
import { offlineCheckpoints } from "../../cli/offline.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { Processes } from "../../scripts/demo/processes.ts";
import { until } from "../../scripts/demo/stage.ts";
import { offlineImages } from "../kit/offline-images.ts";
import { SiteStage, servedVm, servedVpg } from "../kit/served-site.ts";
import { fill, judge } from "./oracle.ts";
import { Storm } from "./storm.ts";

const volumeBytes = 2 * 2 ** 20;
const volumes = ["one", "two"] as const;
/** More runs by FARSHORE_SEEDS="1 2 3"; a failure names its seed. */
const seeds = (process.env["FARSHORE_SEEDS"] ?? "1 2").split(" ").map(Number);
const checkpointsPath = `/v1/vpgs/${servedVpg}/checkpoints`;
const faultyGateway = new URL("../kit/faulty-gateway.ts", import.meta.url).pathname;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const started: { readonly site: SiteStage; readonly processes: Processes }[] = [];
afterEach(async () => {
  for (const { site, processes } of started.splice(0)) {
    await processes.stopAll();
    await site.close();
    site.remove();
  }
});

/** From one loss of power to the next; what was lost is unknown to the clients, so each has a log of its own. */
interface Life {
  readonly since: number;
  readonly logFile: string;
  readonly storm: Storm;
}

/** A site, a gateway over disks that fail, and a machine that loses power. */
class BadMachine {
  readonly site: SiteStage;
  readonly processes: Processes;
  readonly lives: Life[] = [];
  readonly #random: SeededRandom;
  #startedAt = 0;

  constructor(site: SiteStage, random: SeededRandom) {
    this.site = site;
    this.#random = random;
    this.processes = new Processes(site.directory);
    const source = volumes.map((name) => {
      writeFileSync(this.#disk(name), "");
      truncateSync(this.#disk(name), volumeBytes);
      return `[[source.volume]]\nvm = "${servedVm}"\nname = "${name}"\npath = "${this.#disk(name)}"\n`;
    });
    const head = `site = "${site.url}"\nstate = "state"\n[source]\nvpg = "${servedVpg}"\nsocket = "${this.#socket}"\n`;
    writeFileSync(this.#config, `${head}${source.join("")}`);
  }

  get #config(): string {
    return join(this.site.directory, "gateway.toml");
  }

  get #socket(): string {
    return join(this.site.directory, "nbd.sock");
  }

  #disk(name: string): string {
    return join(this.site.directory, `${name}.img`);
  }

  startGateway(): void {
    this.#startedAt = Date.now();
    const seed = String(this.#random.uint32());
    const env = { FARSHORE_TOKEN: this.site.tokens.source };
    this.processes.start("gateway", faultyGateway, [this.#config, seed], env);
  }

  /** New clients and a new log, which begins with what the disks hold: nobody remembers anything else. */
  beginLife(): void {
    const logFile = join(this.site.directory, `writes-${this.lives.length}.jsonl`);
    const since = Date.now();
    writeFileSync(logFile, "");
    for (const [index, image] of this.diskImages()) logWhatStands(logFile, index, image, since);
    const address = { socketPath: this.#socket };
    const uris = new Map(
      volumes.map((name, index) => [index + 1, formatNbdUri(address, `${servedVpg}/${servedVm}/${name}`)]),
    );
    const firstId = this.lives.at(-1)?.storm.nextId ?? 1;
    const storm = new Storm({ uris, volumeBytes, logFile, random: this.#random, connectionsPerVolume: 2, firstId });
    this.lives.push({ since, logFile, storm });
    storm.start();
  }

  diskImages(): Map<number, Buffer> {
    return new Map(volumes.map((name, index) => [index + 1, readFileSync(this.#disk(name))]));
  }

  /** Ends the clients' life; the disks are as the power's loss left them. */
  async losePower(): Promise<void> {
    await this.processes.stop("gateway", "SIGUSR2");
    await this.lives.at(-1)?.storm.stop();
  }

  /** Waits until the gateway has made some checkpoints since it started; asks for tagged ones at random moments meanwhile. */
  async live(): Promise<void> {
    const { operator: token } = this.site.tokens;
    await until("checkpoints of this gateway's life", 60_000, async () => {
      if (this.#random.below(3) === 0) {
        await this.site.call(checkpointsPath, { method: "POST", token, body: { tag: "any" } });
      }
      const listed = await this.listed();
      return listed.filter(({ time }) => time > this.#startedAt).length >= 3 ? true : undefined;
    });
    await pause(this.#random.below(1000));
  }

  async listed(): Promise<readonly CheckpointView[]> {
    const { viewer: token } = this.site.tokens;
    const answer = await this.site.call(`${checkpointsPath}?limit=1000`, { token });
    return checkpointListSchema.parse(answer.json()).checkpoints;
  }

  /** Leaves writes that fail, lets the clients end, and waits until all they wrote is in a checkpoint. */
  async settle(): Promise<void> {
    this.processes.signal("gateway", "SIGHUP");
    await pause(1500);
    await this.lives.at(-1)?.storm.stop();
    const quietAt = Date.now();
    await until("a checkpoint that still holds", 60_000, async () =>
      ((await this.site.vpg()).newestCheckpoint?.validThrough ?? 0) > quietAt ? true : undefined,
    );
  }

  lifeAt(time: number): Life {
    const life = this.lives.findLast(({ since }) => since <= time);
    if (life === undefined) throw new Error(`nothing was written yet at ${time}`);
    return life;
  }
}

/** The bytes on a disk as writes that are long done. */
function logWhatStands(logFile: string, volume: number, image: Buffer, at: number): void {
  const lines: string[] = [];
  for (let offset = 0; offset < image.length; offset += 512) {
    const id = image.readDoubleLE(offset);
    expect(image.subarray(offset, offset + 512).equals(fill(id)), "a sector of the disk is torn").toBe(true);
    if (id === 0) continue;
    lines.push(
      JSON.stringify({ submit: id, at, volume, offset, length: 512, zero: false }),
      JSON.stringify({ ack: id, at }),
    );
  }
  if (lines.length > 0) appendFileSync(logFile, `${lines.join("\n")}\n`);
}

describe("a disk that fails, delays, reorders or forgets unflushed writes never makes a listed checkpoint wrong", () => {
  it.each(seeds)("seed %i", async (seed) => {
    const repeat = `repeat: FARSHORE_SEEDS=${seed} npx vitest run --project whole test/exactness/disk-faults.test.ts`;
    const random = new SeededRandom(seed);
    const plan = volumes.map((name) => ({ name, sizeBytes: volumeBytes }));
    const site = await SiteStage.start({ volumes: plan, checkpointIntervalMs: 1000 });
    const machine = new BadMachine(site, random);
    started.push({ site, processes: machine.processes });

    for (let life = 0; life < 3; life += 1) {
      machine.beginLife();
      machine.startGateway();
      await machine.live();
      if (random.below(2) === 0) {
        // Only the process dies: the disks forget nothing, and the clients go on.
        await machine.processes.stop("gateway", "SIGKILL");
        machine.startGateway();
        await machine.live();
      }
      if (life < 2) await machine.losePower();
    }
    await machine.settle();
    await machine.processes.stop("gateway", "SIGTERM");

    const checkpoints = await machine.listed();
    const { checkpoints: offline } = await offlineCheckpoints(site.dataDir, servedVpg);
    expect(
      offline.map((row) => row.id),
      repeat,
    ).toEqual(checkpoints.map((row) => row.id));
    const image = await offlineImages(site.dataDir, servedVpg);
    const imagesOf = async (row: { readonly id: string }): Promise<Map<number, Buffer>> =>
      new Map([
        [1, await image(row, 1)],
        [2, await image(row, 2)],
      ]);
    for (const row of checkpoints) {
      const life = machine.lifeAt(row.time);
      const wrong = judge(life.logFile, await imagesOf(row), row.time);
      expect(wrong, `checkpoint ${row.id} of life ${machine.lives.indexOf(life)}; ${repeat}`).toEqual([]);
    }
    const [newest] = checkpoints;
    const last = machine.lives.at(-1);
    const firstOfLast = checkpoints.findLast(({ time }) => machine.lifeAt(time) === last);
    if (newest === undefined || firstOfLast === undefined || last === undefined) throw new Error(repeat);
    const newestImages = await imagesOf(newest);
    expect(newestImages, repeat).toEqual(machine.diskImages());
    // The judge is no rubber stamp: the newest image is not what an older checkpoint may show.
    expect(judge(last.logFile, newestImages, firstOfLast.time), repeat).not.toEqual([]);

    const sum = (of: (storm: Storm) => number) => machine.lives.reduce((total, { storm }) => total + of(storm), 0);
    expect(
      sum((storm) => storm.failed),
      repeat,
    ).toBeGreaterThan(0);
    const judged = machine.lives.map((life) => checkpoints.filter(({ time }) => machine.lifeAt(time) === life).length);
    process.stdout.write(
      `disk faults, seed ${seed}: checkpoints of each life ${judged.join(", ")}; ${sum((storm) => storm.acknowledged)} writes acknowledged, ${sum((storm) => storm.failed)} failed\n`,
    );
  });
});
