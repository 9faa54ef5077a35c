/**
 * Random writes, zeroes, trims, flushes, failures, hydrations, clean and unclean ends, compared with an oracle that knows for each sector
 * which contents are possible. SEED=n repeats one run: SEED=7 npx vitest run --project unit gateway/export/scratch.property.test.ts
 */
import { describe, expect, it } from "vitest";
import { CrashDisk, CrashMedium, NumberedImage, stamped, stampOf } from "../../test/kit/crash-disk.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { hydrate } from "./hydrate.ts";
import { LocalBitmap } from "./local-bitmap.ts";
import { ScratchDevice } from "./scratch-device.ts";

const sectorBytes = 512;
/** The last block is short. Most runs have a small disk, where requests meet often; some have two chunks and a bit. */
const sectorCounts = [203, 203, 203, 2 * 1024 + 100 + 3];

/** What each sector may hold. */
class Oracle {
  /** Now: one content, but for sectors whose last write failed. */
  readonly now: Set<number>[];
  /** After a crash, in order of submission. */
  readonly afterCrash: { readonly order: number; readonly stamp: number }[][];
  #order = 0;

  constructor(image: NumberedImage, sectorCount: number) {
    this.now = Array.from({ length: sectorCount }, (_, sector) => new Set([image.stamp(sector)]));
    this.afterCrash = Array.from({ length: sectorCount }, (_, sector) => [{ order: 0, stamp: image.stamp(sector) }]);
  }

  submit(first: number, count: number, stamp: number): number {
    this.#order += 1;
    for (let sector = first; sector < first + count; sector += 1) {
      this.now[sector] = new Set([stamp]);
      this.afterCrash[sector]?.push({ order: this.#order, stamp });
    }
    return this.#order;
  }

  /** The write of that order is durable: what came before it is gone. */
  durable(first: number, count: number, order: number): void {
    for (let sector = first; sector < first + count; sector += 1) {
      const kept = this.afterCrash[sector]?.filter((version) => version.order >= order) ?? [];
      this.afterCrash[sector] = kept;
    }
  }

  failed(first: number, count: number): void {
    for (let sector = first; sector < first + count; sector += 1) {
      this.now[sector] = new Set(this.afterCrash[sector]?.map((version) => version.stamp));
    }
  }

  flushed(): void {
    this.now.forEach((possible, sector) => {
      this.afterCrash[sector] = [...possible].map((stamp) => ({ order: this.#order, stamp }));
    });
  }

  crashed(): void {
    this.afterCrash.forEach((versions, sector) => {
      this.now[sector] = new Set(versions.map((version) => version.stamp));
    });
    this.flushed();
  }

  /** Reads the disk: each content is possible, and from now on the only one. */
  async check(device: ScratchDevice, first: number, count: number): Promise<void> {
    const bytes = Buffer.alloc(count * sectorBytes);
    await device.read(first * sectorBytes, bytes);
    for (let index = 0; index < count; index += 1) {
      const sector = first + index;
      const stamp = stampOf(bytes.subarray(index * sectorBytes, (index + 1) * sectorBytes));
      const possible = this.now[sector] ?? new Set();
      if (!possible.has(stamp)) {
        throw new Error(`sector ${sector} holds ${stamp}, possible are ${[...possible].join(", ")}`);
      }
      if (possible.size > 1) {
        this.now[sector] = new Set([stamp]);
        const versions = this.afterCrash[sector] ?? [];
        versions.push({ order: this.#order, stamp });
      }
    }
  }
}

/** A computer that crashes: the media stay, the process doesn't. */
class World {
  readonly random: SeededRandom;
  readonly image: NumberedImage;
  readonly oracle: Oracle;
  readonly sectorCount: number;
  readonly data: CrashMedium;
  readonly bits: CrashMedium;
  device: ScratchDevice;
  #disks: CrashDisk[] = [];
  #stamp = 1_000_000;
  #clean = true;
  isPromoted = false;
  failing = false;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    const sectorCount = sectorCounts[seed % sectorCounts.length] ?? 0;
    this.sectorCount = sectorCount;
    this.data = new CrashMedium(sectorCount * sectorBytes);
    this.bits = new CrashMedium(LocalBitmap.fileBytes(sectorCount * sectorBytes));
    const holes = sectorCount / (3 + (seed % 7));
    this.image = new NumberedImage(sectorCount * sectorBytes, (sector) => Math.floor(sector / holes) % 2 === seed % 2);
    this.oracle = new Oracle(this.image, sectorCount);
    this.device = this.open();
  }

  open(): ScratchDevice {
    const local = new CrashDisk(this.data, this.random);
    const bitmap = new CrashDisk(this.bits, this.random);
    this.#disks = [local, bitmap];
    const holesKnown = this.#clean;
    this.#clean = false;
    this.device = new ScratchDevice({
      local,
      bitmap: new LocalBitmap(bitmap, this.data.sizeBytes),
      image: this.image,
      holesKnown,
      recordPromoted: async () => {
        this.isPromoted = true;
      },
      recordClean: async () => {
        this.#clean = true;
      },
    });
    return this.device;
  }

  crash(): void {
    for (const disk of this.#disks) disk.dead = true;
    this.data.crash(this.random);
    this.bits.crash(this.random);
    this.oracle.crashed();
    this.open();
  }

  /** From now on one write to the local file in `oneIn` fails halfway; 0 for none. */
  failWrites(oneIn: number): void {
    const [local] = this.#disks;
    if (local !== undefined) local.failOneIn = oneIn;
    this.failing = oneIn > 0;
  }

  /** One request of the guest, which the oracle knows of from its submission on. */
  async change(): Promise<void> {
    const { random, oracle, device, sectorCount } = this;
    const first = random.below(sectorCount);
    const count = Math.min(
      1 + random.below(random.chance(1 / 4) ? Math.ceil(sectorCount / 4) : 12),
      sectorCount - first,
    );
    const kind = random.below(4);
    this.#stamp += 1;
    const stamp = kind < 2 ? this.#stamp : 0;
    const fua = kind !== 3 && random.chance(1 / 5);
    const order = oracle.submit(first, count, stamp);
    try {
      const offset = first * sectorBytes;
      if (kind < 2) await device.write(offset, stamped(stamp, count), fua);
      else if (kind === 2)
        await device.writeZeroes(offset, count * sectorBytes, { mayTrim: random.chance(1 / 2), fua });
      else await device.trim(offset, count * sectorBytes);
    } catch {
      oracle.failed(first, count);
      return;
    }
    if (fua) oracle.durable(first, count, order);
  }

  async flush(): Promise<void> {
    await this.device.flush();
    this.oracle.flushed();
  }

  checkSome(): Promise<void> {
    const first = this.random.below(this.sectorCount);
    return this.oracle.check(this.device, first, 1 + this.random.below(this.sectorCount - first));
  }

  async hydrate(signal: AbortSignal): Promise<void> {
    try {
      await hydrate(this.device, this.image, { signal, onProgress: () => undefined });
    } catch (error) {
      if (!signal.aborted && !this.failing) throw error;
    }
  }

  async ticks(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) await new Promise((go) => setImmediate(go));
  }
}

/** One life of the process: some requests at once, while hydration may run; then all are awaited, or the power goes. */
async function life(world: World): Promise<void> {
  const { random } = world;
  for (let round = random.below(6); round >= 0; round -= 1) {
    world.failWrites(random.chance(1 / 3) ? 40 : 0);
    const abort = new AbortController();
    const hydration = random.chance(1 / 3) ? world.hydrate(abort.signal) : Promise.resolve();
    const requests = Array.from({ length: random.below(12) }, () => world.change());
    if (random.chance(1 / 2)) requests.push(world.device.flush(), world.ticks(random.below(3)));
    requests.push(...Array.from({ length: random.below(8) }, () => world.change()));
    if (random.chance(1 / 6)) {
      await world.ticks(random.below(12));
      hydration.catch(() => undefined);
      return world.isPromoted ? undefined : world.crash();
    }
    await Promise.all(requests);
    if (random.chance(1 / 2)) abort.abort();
    await hydration;
    await world.checkSome();
    if (random.chance(1 / 2)) await world.flush();
    if (world.isPromoted) return;
  }
  if (random.chance(1 / 3)) {
    await world.device.close();
    world.oracle.flushed();
    world.open();
  } else if (!world.isPromoted) {
    world.crash();
  }
}

async function run(seed: number): Promise<void> {
  const world = new World(seed);
  for (let lives = 0; lives < 12 && !world.isPromoted; lives += 1) {
    await life(world);
    if (!world.isPromoted) await world.oracle.check(world.device, 0, world.sectorCount);
  }
  world.failWrites(0);
  if (!world.isPromoted) {
    await Promise.all([
      world.hydrate(new AbortController().signal),
      ...Array.from({ length: 8 }, () => world.change()),
    ]);
    await world.flush();
  }
  expect(world.device.promoted).toBe(true);
  await Promise.all(Array.from({ length: 8 }, () => world.change()));
  const reads = world.image.reads;
  await world.oracle.check(world.device, 0, world.sectorCount);
  expect(world.image.reads).toBe(reads);
  await world.flush();
  // The local file alone is the disk.
  const whole = Buffer.alloc(world.data.sizeBytes);
  world.data.read(0, whole);
  for (let sector = 0; sector < world.sectorCount; sector += 1) {
    const stamp = stampOf(whole.subarray(sector * sectorBytes, (sector + 1) * sectorBytes));
    expect(world.oracle.now[sector]?.has(stamp), `sector ${sector} of the file holds ${stamp}`).toBe(true);
  }
}

describe("a scratch", () => {
  const given = process.env["SEED"];
  const seeds = given === undefined ? Array.from({ length: 200 }, (_, index) => index + 1) : [Number(given)];
  it.each(seeds)("keeps what it promised through crashes, seed %i", async (seed) => {
    await run(seed);
  });
});
