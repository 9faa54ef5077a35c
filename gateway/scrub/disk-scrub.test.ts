import { afterEach, describe, expect, it } from "vitest";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { blockHashesOf, hashChunk } from "#core/sync/hash-chunk.ts";
import { unreadableByte } from "#core/sync/pieces.ts";
import { Life, mortal } from "../../test/kit/mortal.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { SyncRig } from "../../test/kit/sync-rig.ts";
import { SimState } from "../../test/simulation/sim-state.ts";
import { scrubMendsMax, scrubRoundMs } from "../limits.ts";
import type { SyncSource, TargetHashes } from "../sync/volume-sync.ts";
import { DiskScrubber, type DiskScrubOptions } from "./disk-scrub.ts";

const MiB = 2 ** 20;
/** Of the rig's two disks: 12 MiB and a bit, 5 MiB. */
const chunks = 25 + 10;

/** Time passes by sleeping alone, and a sleep takes a turn of the event loop. */
class SleptClock {
  at = 1_900_000_000_000;
  onSleep: () => Promise<void> = () => Promise.resolve();
  now(): number {
    return Math.floor(this.at);
  }
  monotonic(): number {
    return this.at;
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.at += ms;
    await this.onSleep();
  }
}

/** What the site's journal holds, by plain replay of its batches. */
const journalHashes =
  (rig: SyncRig): TargetHashes =>
  async ({ journalVolume, upTo, blocksOf = [] }) => {
    const image = rig.journal.image(journalVolume, upTo.sequence);
    return Buffer.concat(
      blocksOf.map((chunk) => blockHashesOf(image.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes))),
    );
  };

const ownHasher: DiskScrubOptions["openHasher"] = () => ({
  hash: async (buffer, length) => ({ id: 0, buffer, ...hashChunk(new Uint8Array(buffer, 0, length)) }),
  close: async () => undefined,
});

function scrubOf(rig: SyncRig, over: Partial<DiskScrubOptions> = {}): DiskScrubber {
  return new DiskScrubber({
    ...{
      vpgName: "shop",
      of: () => "its disks",
      log: rig.log,
      sources: () => rig.tapped,
      hashes: journalHashes(rig),
      openHasher: ownHasher,
    },
    ...{ state: new SimState(), clock: new SleptClock(), events: new QuietLog(), bytesPerSecond: 1e9 },
    ...over,
  });
}

const differences = ({ entries }: QuietLog) => entries.filter(({ event }) => event === "scrub.differs");

/** The source with what is read of it told first. */
const observed = (source: SyncSource, onRead: (offset: number, bytes: number) => void): SyncSource => ({
  sizeBytes: source.sizeBytes,
  read: (offset, target) => {
    onRead(offset, target.length);
    return source.read(offset, target);
  },
  watch: (offset, length) => source.watch(offset, length),
  lockedRead: (offset, length, use) => source.lockedRead(offset, length, use),
});

/** The sync's hashes come from a thread, so turns alone say nothing of how long it takes. */
async function until(rig: SyncRig, met: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(20_000);
  while (!met()) {
    signal.throwIfAborted();
    await rig.turn();
  }
}

describe("the scrub of disks", () => {
  const rigs: SyncRig[] = [];
  const scrubs: DiskScrubber[] = [];
  afterEach(async () => {
    for (const scrub of scrubs.splice(0)) await scrub.stop();
    for (const rig of rigs.splice(0)) await rig.stop();
  });
  const begin = async (seed: number): Promise<SyncRig> => {
    const rig = new SyncRig(seed, "continues");
    rigs.push(rig);
    await rig.settle();
    return rig;
  };
  const kept = (scrub: DiskScrubber): DiskScrubber => {
    scrubs.push(scrub);
    return scrub;
  };

  /** Guests write a few hot places and cut now and then, while round after round compares. */
  async function storm(seed: number, over: (rig: SyncRig) => Partial<DiskScrubOptions> = () => ({})) {
    const rig = await begin(seed);
    for (const disk of rig.faulty) Object.assign(disk.faults, { isLate: 0.6 });
    Object.assign(rig.journal.faults, { turnsMax: 5 });
    const scrub = kept(scrubOf(rig, over(rig)));
    scrub.ask();
    const random = new SeededRandom(seed + 1000);
    let rounds = 0;
    let going = 0;
    for (let step = 0; step < 500; step += 1) {
      const device = rig.tapped[random.below(2)];
      const offset = 4096 * random.below(random.chance(0.7) ? 8 : 1024);
      const write = device?.write(offset, rig.bytes(4096 * (1 + random.below(3))), false);
      going += 1;
      void Promise.resolve(write).finally(() => {
        going -= 1;
      });
      if (random.chance(0.2)) rig.log.flush();
      for (let turns = random.below(5); turns > 0; turns -= 1) await rig.turn();
      if (!scrub.standing.running && rounds < 8) {
        rounds += 1;
        scrub.ask();
      }
    }
    await until(rig, () => going === 0);
    await rig.settle();
    return { rig, scrub, rounds };
  }

  const seeds = process.env["SEED"] === undefined ? [1, 2, 3] : [Number(process.env["SEED"])];

  it.each(seeds)(
    "never calls different what guests are writing: SEED=%i npx vitest run --project unit gateway/scrub",
    async (seed) => {
      const { rig, scrub, rounds } = await storm(seed);
      expect(rounds).toBeGreaterThan(2);
      expect(scrub.standing).toMatchObject({ differing: 0, mended: 0 });
      await until(rig, () => !scrub.standing.running);
      scrub.ask();
      await until(rig, () => !scrub.standing.running && scrub.standing.skippedChunks === 0);
      expect(scrub.standing).toMatchObject({ comparedChunks: chunks, totalChunks: chunks, differing: 0 });
    },
  );

  it("would, were overlapping writes not looked at", async () => {
    const blind = (source: SyncSource): SyncSource => ({
      ...observed(source, () => undefined),
      watch: () => ({ overlapped: () => false, end: () => undefined }),
    });
    let differing = 0;
    for (const seed of seeds) {
      const events = new QuietLog();
      await storm(seed, (rig) => ({ sources: () => rig.tapped.map(blind), events }));
      differing += differences(events).length;
      if (differing > 0) break;
    }
    expect(differing).toBeGreaterThan(0);
  });

  it("isn't misled by a write that its batch leaves out, since another one came over it before the batch was cut", async () => {
    const rig = await begin(12);
    const [device] = rig.tapped;
    await device?.write(0, rig.bytes(4096), false);
    let over = false;
    const sources = rig.tapped.map((source) =>
      observed(source, (offset) => {
        // The last chunk of the first disk; when it has been read, and before anything was cut.
        if (offset !== 24 * chunkBytes || over) return;
        over = true;
        setImmediate(() => {
          void device?.write(0, rig.bytes(4096), false);
          rig.log.flush();
        });
      }),
    );
    const scrub = kept(scrubOf(rig, { sources: () => sources }));
    scrub.ask();
    await until(rig, () => !scrub.standing.running && scrub.standing.ageMs !== null);
    expect(over).toBe(true);
    expect(scrub.standing).toMatchObject({ comparedChunks: chunks, skippedChunks: 0, differing: 0 });
  });

  it("finds the one byte that changed behind the gateway's back, says so, sends that place again, and forgets it a round later", async () => {
    const rig = await begin(7);
    const [disk] = rig.disks;
    if (disk === undefined) throw new Error("no disk");
    const place = 5 * MiB + 12_345;
    disk.image[place] = (disk.image[place] ?? 0) ^ 1;
    const [events, clock, state] = [new QuietLog(), new SleptClock(), new SimState()];
    const shippedBefore = rig.runner.figures.shippedBytes;
    const scrub = kept(scrubOf(rig, { events, clock, state }));
    scrub.ask();
    await until(rig, () => scrub.standing.mended === 1 && !scrub.standing.running);
    const [finding] = scrub.standing.findings;
    expect(finding).toMatchObject({ volume: 1, offset: place - (place % 4096), length: 4096, times: 1, mended: true });
    expect(finding?.diskHash).not.toBe(finding?.journalHash);
    expect(differences(events)).toHaveLength(1);
    expect(rig.runner.figures.shippedBytes - shippedBefore).toBe(4096);
    await rig.settle();
    expect(rig.journal.image(1).equals(disk.image)).toBe(true);
    expect(scrub.standing).toMatchObject({ differing: 1, comparedChunks: chunks });
    clock.at += 1000;
    scrub.ask();
    await until(rig, () => !scrub.standing.running && scrub.standing.differing === 0);
  });

  it("sends what goes on differing only so often, and goes on calling it different", async () => {
    const rig = await begin(8);
    const true_ = journalHashes(rig);
    const lying: TargetHashes = async (ask, signal) => {
      const hashes = Buffer.from(await true_(ask, signal));
      const at = (ask.blocksOf ?? []).indexOf(3);
      if (ask.journalVolume === 2 && at >= 0) hashes[at * 2048] = (hashes[at * 2048] ?? 0) ^ 1;
      return hashes;
    };
    const events = new QuietLog();
    const scrub = kept(scrubOf(rig, { hashes: lying, events }));
    scrub.ask();
    const times = (): number => scrub.standing.findings[0]?.times ?? 0;
    await until(rig, () => !scrub.standing.running && times() > scrubMendsMax);
    expect(scrub.standing).toMatchObject({ differing: 1, mended: 0, comparedChunks: chunks });
    expect(scrub.standing.findings[0]).toMatchObject({ volume: 2, offset: 3 * chunkBytes });
    // Then it is left alone, and checkpoints come again.
    await rig.settle();
    for (let turn = 0; turn < 200; turn += 1) await rig.turn();
    expect(rig.log.whole).toBe(true);
    expect(times()).toBe(scrubMendsMax + 1);
    expect(differences(events)).toHaveLength(scrubMendsMax + 1);
  });

  it("keeps to its rate, and stands back while guests write", async () => {
    const rig = await begin(9);
    const clock = new SleptClock();
    const rate = 2 * MiB;
    let read = 0;
    let readWhileBusy = 0;
    let busy = true;
    const [began, slept] = [clock.at, { looks: 0 }];
    clock.onSleep = async () => {
      slept.looks += 1;
      if (slept.looks === 12) busy = false;
      // More than a little within every look.
      if (busy) await rig.tapped[1]?.write(0, rig.bytes(300 * 1024), false);
      rig.log.flush();
    };
    await rig.tapped[1]?.write(0, rig.bytes(300 * 1024), false);
    const sources = rig.tapped.map((source) =>
      observed(source, (_, bytes) => {
        read += bytes;
        if (busy) readWhileBusy += bytes;
        expect(read).toBeLessThanOrEqual(((clock.at - began) / 1000) * rate + chunkBytes);
      }),
    );
    const scrub = kept(scrubOf(rig, { clock, bytesPerSecond: rate, sources: () => sources }));
    scrub.start();
    await until(rig, () => scrub.standing.ageMs !== null);
    expect(readWhileBusy).toBeLessThanOrEqual(chunkBytes);
    expect(read).toBeGreaterThanOrEqual(17 * MiB);
  });

  it("knows nothing of other disks of the same VPG", async () => {
    const rig = await begin(11);
    const [state, clock] = [new SimState(), new SleptClock()];
    const first = scrubOf(rig, { state, clock });
    first.ask();
    await until(rig, () => first.standing.ageMs !== null);
    await first.stop();
    for (const [of, isKnown] of [
      ["its disks", true],
      ["disks of a failover", false],
    ] as const) {
      const next = scrubOf(rig, { state, clock, of: () => of });
      await next.load();
      expect(next.standing.ageMs !== null).toBe(isKnown);
    }
  });

  it("begins where it was after a kill, counts nothing twice, and begins the next round in its time", async () => {
    const rig = await begin(10);
    const state = new SimState();
    const clock = new SleptClock();
    const rate = 16 * 1024;
    const read: number[] = [];
    const sources = rig.tapped.map((source) => observed(source, (offset) => read.push(offset)));
    const options = { clock, state, bytesPerSecond: rate, sources: () => sources };
    const life = new Life();
    // Killed when its first group is kept.
    let writes = 0;
    const dying = mortal(state, life, (method) => {
      if (method === "write") writes += 1;
      if (writes === 2) life.kill();
    });
    const first = scrubOf(rig, { ...options, state: dying });
    first.start();
    await until(rig, () => !life.alive);
    const before = first.standing.comparedChunks;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(chunks);
    read.length = 0;
    const second = kept(scrubOf(rig, { ...options, state }));
    await second.load();
    expect(second.standing).toMatchObject({ running: true, comparedChunks: before });
    second.start();
    await until(rig, () => second.standing.ageMs !== null);
    expect(second.standing).toMatchObject({ running: false, comparedChunks: chunks });
    expect(read).toHaveLength(chunks - before);
    const { ageMs } = second.standing;
    expect(ageMs).toBeLessThan(scrubRoundMs);
    await until(rig, () => second.standing.running);
    expect(second.standing.ageMs).toBeGreaterThanOrEqual(scrubRoundMs);
  });

  it("skips the chunks of which the site can't read what its journal holds, and sends nothing again", async () => {
    const rig = await begin(9);
    const read = journalHashes(rig);
    const events = new QuietLog();
    const hashes: TargetHashes = async (ask, signal) => {
      const found = Buffer.from(await read(ask, signal));
      const place = ask.journalVolume === 1 ? (ask.blocksOf?.indexOf(3) ?? -1) : -1;
      return place < 0 ? found : found.fill(unreadableByte, place * 2048, (place + 1) * 2048);
    };
    const scrub = kept(scrubOf(rig, { hashes, events }));
    scrub.ask();
    await until(rig, () => !scrub.standing.running);
    expect(scrub.standing).toMatchObject({ comparedChunks: chunks - 1, skippedChunks: 1, differing: 0 });
    expect(differences(events)).toEqual([]);
  });
});
