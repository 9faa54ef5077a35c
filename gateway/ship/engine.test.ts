import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Diverged, type FarshoreError, Fenced, Gap, TableBehindBucket, Transient } from "#core/errors.ts";
import { MemoryJournal } from "../../test/kit/memory-journal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { batchesInFlightMax, gapsMax } from "../limits.ts";
import { newSegmentBuffers, OpenSegment, type SealedSegment } from "../tap/segment.ts";
import { ShipEngine, type Upload } from "./engine.ts";
import { levelFor } from "./press.ts";

const place = { vpgId: "01k3vpg0000000000000000001", term: 1, session: 3, configRevision: 1 };

function segment(batch: number, bytes: Uint8Array = Buffer.alloc(4096, batch + 1)): SealedSegment {
  const open = new OpenSegment(batch, batch * 2 + 1, newSegmentBuffers(), 1_000_000, 0);
  open.write(batch * 2 + 1, 1, batch * 4096, bytes);
  open.event({ kind: "marker", sequence: batch * 2 + 2, time: 1_000_000, tag: "" });
  return open.seal(1_000_000, 0).sealed;
}

class Rig {
  readonly clock = new VirtualClock();
  readonly encoded: number[] = [];
  readonly acknowledged: number[] = [];
  readonly troubles: string[] = [];
  stopped: FarshoreError | undefined;
  readonly engine: ShipEngine;

  constructor(upload: Upload) {
    this.engine = new ShipEngine({
      place,
      upload,
      events: {
        encoded: (batch) => this.encoded.push(batch),
        acknowledged: (batch) => this.acknowledged.push(batch),
        stopped: (error) => {
          this.stopped = error;
        },
        troubled: (error) => this.troubles.push(error.name),
      },
      clock: this.clock,
      random: { bytes: () => Uint8Array.of(128) },
    });
  }

  push(from: number, to: number): void {
    for (let batch = from; batch < to; batch += 1) this.engine.push(segment(batch));
  }
}

async function pass(rig: Rig, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) await rig.clock.advance(50);
}

describe("a throttled ship engine", () => {
  it("sends no faster than its rate, goes on by a new one at once, and ends while it waits", async () => {
    const sentAt: number[] = [];
    let sent = 0;
    const rig = new Rig(async (_, object) => {
      sent += object.length;
      sentAt.push(rig.clock.monotonic());
    });
    const begunAt = rig.clock.monotonic();
    rig.engine.setRate(100_000);
    for (let batch = 0; batch < 4; batch += 1) rig.engine.push(segment(batch, randomBytes(102_400)));
    await pass(rig, 10_000);
    expect(sentAt).toHaveLength(4);
    const last = (sentAt.at(-1) ?? 0) - begunAt;
    expect(last).toBeGreaterThanOrEqual(2900);
    expect(last).toBeLessThan(3500);
    expect(sent).toBeGreaterThan(400_000);

    rig.engine.setRate(1000);
    for (let batch = 4; batch < 8; batch += 1) rig.engine.push(segment(batch, randomBytes(102_400)));
    await pass(rig, 5000);
    expect(sentAt).toHaveLength(5);
    rig.engine.setRate(undefined);
    await pass(rig, 100);
    expect(rig.acknowledged.at(-1)).toBe(7);

    rig.engine.setRate(1000);
    for (let batch = 8; batch < 11; batch += 1) rig.engine.push(segment(batch, randomBytes(102_400)));
    await pass(rig, 1000);
    rig.engine.stop();
    await pass(rig, 10_000);
    expect(sentAt.length).toBeLessThan(11);
  });
});

/** An upload whose end the test decides, batch by batch. */
class Held {
  readonly sent: number[] = [];
  readonly objects: Uint8Array[] = [];
  readonly #ends = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();

  readonly upload: Upload = (batch, object) =>
    new Promise((resolve, reject) => {
      this.sent.push(batch);
      this.objects.push(Uint8Array.from(object));
      this.#ends.set(batch, { resolve, reject });
    });

  take(batch: number): void {
    this.#ends.get(batch)?.resolve();
  }

  refuse(batch: number, error: Error): void {
    this.#ends.get(batch)?.reject(error);
  }
}

describe("ship engine", () => {
  it("has at most sixteen in flight and acknowledges the unbroken prefix", async () => {
    const held = new Held();
    const rig = new Rig(held.upload);
    rig.push(0, 20);
    await rig.clock.advance(0);
    for (let turn = 0; turn < 30; turn += 1) await rig.clock.settle();
    expect(rig.encoded).toHaveLength(20);
    expect(held.sent).toEqual(Array.from({ length: batchesInFlightMax }, (_, batch) => batch));
    held.take(2);
    held.take(1);
    await rig.clock.settle();
    expect(rig.acknowledged).toEqual([]);
    expect(held.sent).toHaveLength(batchesInFlightMax);
    held.take(0);
    await rig.clock.settle();
    expect(rig.acknowledged).toEqual([2]);
    expect(held.sent.slice(batchesInFlightMax)).toEqual([16, 17, 18]);
  });

  it("sends again byte for byte after a lost reply, with growing pauses", async () => {
    const held = new Held();
    const rig = new Rig(held.upload);
    rig.push(0, 1);
    for (let tries = 0; tries < 8; tries += 1) {
      await rig.clock.settle();
      held.refuse(0, new Transient("reset"));
      await rig.clock.step();
    }
    await rig.clock.settle();
    held.take(0);
    await rig.clock.settle();
    expect(rig.acknowledged).toEqual([0]);
    expect(held.sent).toEqual(Array.from({ length: 9 }, () => 0));
    expect(new Set(held.objects.map((object) => Buffer.from(object).toString("base64"))).size).toBe(1);
    expect(rig.troubles).toEqual(["Transient"]);
    expect(rig.clock.monotonic()).toBeGreaterThan(10_000);
  });

  it("uses the memory of acknowledged batches again, but not of one whose upload failed", async () => {
    const buffers: ArrayBufferLike[] = [];
    let fails = false;
    const rig = new Rig(async (batch, object) => {
      buffers[batch] = object.buffer;
      if (fails && batch === 2) {
        fails = false;
        throw new Transient("reset");
      }
    });
    for (let batch = 0; batch < 4; batch += 1) {
      fails = batch === 2;
      rig.engine.push(segment(batch, randomBytes(2 ** 18)));
      while (rig.acknowledged.at(-1) !== batch) {
        await rig.clock.settle();
        await rig.clock.step();
      }
    }
    expect(buffers[1]).toBe(buffers[0]);
    expect(buffers[2]).toBe(buffers[0]);
    expect(buffers[3]).not.toBe(buffers[2]);
  });

  it("chains the batches, whatever the link does", async () => {
    const journal = new MemoryJournal([Buffer.alloc(2 ** 20)], new SeededRandom(3));
    Object.assign(journal.faults, { losesReply: 0.4, fails: 0.3, turnsMax: 5 });
    const rig = new Rig(journal.upload);
    rig.push(0, 60);
    while (rig.acknowledged.at(-1) !== 59) {
      await rig.clock.settle();
      await rig.clock.step();
    }
    expect(journal.headers()).toHaveLength(60);
    expect(rig.acknowledged).toEqual([...rig.acknowledged].sort((left, right) => left - right));
    for (let batch = 0; batch < 60; batch += 1) expect(journal.image(1)[batch * 4096]).toBe(batch + 1);
  });

  it("sends what the site lacks again after a gap", async () => {
    const held = new Held();
    const rig = new Rig(held.upload);
    rig.push(0, 4);
    for (let turn = 0; turn < 6; turn += 1) await rig.clock.settle();
    held.take(1);
    await rig.clock.settle();
    held.sent.length = 0;
    held.refuse(3, new Gap("batch 1 is missing"));
    await rig.clock.settle();
    expect(held.sent).toEqual([1]);
  });

  it("takes a site for regressed that lacks what it acknowledged", async () => {
    const rig = new Rig(async (batch) => {
      if (batch > 0) throw new Gap("send batch 0 first", { expected: 0 });
    });
    rig.push(0, 2);
    for (let tries = 0; tries < gapsMax + 2; tries += 1) await rig.clock.step();
    expect(rig.acknowledged).toEqual([0]);
    expect(rig.stopped?.name).toBe("RecoverySiteRegressed");
  });

  it.each([new Fenced("a newer session"), new Diverged("other bytes")])(
    "ends at $name and sends no more",
    async (error) => {
      let sent = 0;
      const rig = new Rig(async () => {
        sent += 1;
        throw error;
      });
      rig.push(0, 3);
      await rig.clock.advance(60_000);
      const before = sent;
      rig.push(3, 5);
      await rig.clock.advance(60_000);
      expect(rig.stopped).toBe(error);
      expect(sent).toBe(before);
      expect(rig.acknowledged).toEqual([]);
    },
  );

  it("goes on trying, slowly, what a person must mend", async () => {
    let refused = true;
    const rig = new Rig(async () => {
      if (refused) throw new TableBehindBucket("rebuild");
    });
    rig.push(0, 1);
    await rig.clock.advance(40_000);
    expect(rig.troubles).toEqual(["TableBehindBucket"]);
    refused = false;
    await rig.clock.advance(20_000);
    expect(rig.acknowledged).toEqual([0]);
  });

  it("gets through a link on which sixteen at once would all run out of time", async () => {
    // So much of a batch passes in a millisecond, shared by all uploads under way; each has 30 s.
    const batchMs = 5000;
    let underWay = 0;
    const rig = new Rig(async () => {
      underWay += 1;
      const startedAt = rig.clock.monotonic();
      try {
        for (let left = batchMs; left > 0; ) {
          await rig.clock.sleep(500);
          left -= 500 / underWay;
          if (rig.clock.monotonic() - startedAt > 30_000) throw new Transient("timed out");
        }
      } finally {
        underWay -= 1;
      }
    });
    rig.push(0, 40);
    await rig.clock.advance(40 * batchMs * 3);
    expect(rig.acknowledged.at(-1)).toBe(39);
  });

  it("compresses less, the more waits", () => {
    expect([0, 33, 65].map((queued) => levelFor(queued * 2 ** 20))).toEqual(["zstd1", "zstd-5", "raw"]);
  });
});
