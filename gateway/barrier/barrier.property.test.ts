import { describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { AcknowledgementGate } from "../disk/acknowledgement-gate.ts";
import { TappedDevice } from "../disk/tapped-device.ts";
import type { SealedSegment } from "../tap/segment.ts";
import { SessionLog } from "../tap/session-log.ts";
import type { Channel } from "./channel.ts";
import { Coordinator } from "./coordinator.ts";
import { askedPauseMs, heldWaitMs, holdMsMax, restMarginMs, restMsMin } from "./limits.ts";
import type { FromCoordinator, FromPeer } from "./messages.ts";
import { Participant } from "./participant.ts";

const MiB = 2 ** 20;
const sectors = MiB / 512;
const names = ["a", "b", "c"] as const;
const ids = names.map((name) => idSchema.parse(`01k3gatew0000000000000000${name}`));

/** How a network treats a message. */
interface Weather {
  readonly lost: number;
  readonly doubled: number;
  readonly delayMsMax: number;
  /** A gateway that lets acknowledgements through earlier than it says: what the judge must find out. */
  readonly letsGoAfterMs?: number;
}

interface Write {
  readonly gateway: number;
  readonly sequence: number;
  readonly submitted: number;
  readonly submittedAt: number;
  acked: number;
  ackedAt: number;
}

/** Source gateways with real logs, gates, disks and barrier code, on a network and a clock of the test's. */
class World {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly weather: Weather;
  readonly coordinator: Coordinator;
  readonly logs: readonly SessionLog[];
  readonly disks: readonly TappedDevice[];
  readonly gates = names.map(() => new AcknowledgementGate());
  readonly barriers: { readonly time: number; readonly vector: readonly Position[] }[] = [];
  readonly writes: Write[] = [];
  longestWaitMs = 0;
  stopped = false;
  #events = 0;

  constructor(seed: number, weather: Weather) {
    this.random = new SeededRandom(seed);
    this.weather = weather;
    this.logs = names.map(() => new SessionLog({ sizes: [MiB], bufferBytes: 96 * MiB, clock: this.clock }));
    this.disks = this.logs.map(
      (log, index) => new TappedDevice(new MemoryDevice(MiB), log, 0, () => undefined, this.gates[index]),
    );
    for (const [index, log] of this.logs.entries()) {
      const session = { term: 1, session: index + 1, journalVolumes: [index + 1], checkpoints: "barriers" as const };
      log.attach(session, { push: (segment) => this.#sealed(segment) }, { kind: "continues" });
    }
    const [own, ...peers] = ids.map((gatewayId, index) => ({ gatewayId, name: names[index] ?? "" }));
    const [log] = this.logs;
    if (own === undefined || log === undefined) throw new Error("no coordinator");
    this.coordinator = new Coordinator({ log, own, peers, clock: this.clock, events: new QuietLog() });
    for (const index of [1, 2]) this.connect(index);
  }

  /** A connection that may be lost again at any time. */
  connect(index: number): () => void {
    const { log, gate, gatewayId } = { log: this.logs[index], gate: this.gates[index], gatewayId: ids[index] };
    if (log === undefined || gate === undefined || gatewayId === undefined) throw new Error("no gateway");
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      participant.closed();
      this.coordinator.left(gatewayId, down);
    };
    const down: Channel<FromCoordinator, FromPeer> = {
      send: (message) => this.#carry(() => open && participant.received(message)),
      listen: () => undefined,
      close,
    };
    const up: Channel<FromPeer, FromCoordinator> = {
      send: (message) => this.#carry(() => open && this.coordinator.received(down, message)),
      listen: () => undefined,
      close,
    };
    const participant = new Participant(up, { log, gate: this.#gate(gate), clock: this.clock });
    this.coordinator.joined(gatewayId, down);
    return close;
  }

  #gate(gate: AcknowledgementGate): AcknowledgementGate {
    const { letsGoAfterMs } = this.weather;
    if (letsGoAfterMs === undefined) return gate;
    const hold = gate.hold.bind(gate);
    gate.hold = (now) => {
      const held = hold(now);
      void this.clock.sleep(letsGoAfterMs).then(() => held.release(this.clock.monotonic()));
      return { whole: true, release: (at) => held.release(at) };
    };
    return gate;
  }

  /** Losing, doubling and delaying, and so overtaking, which a connection never does: the attempts alone must hold. */
  #carry(deliver: () => void): void {
    const { lost, doubled, delayMsMax } = this.weather;
    if (this.random.chance(lost)) return;
    for (let copy = this.random.chance(doubled) ? 2 : 1; copy > 0; copy -= 1) {
      void this.clock.sleep(this.random.below(delayMsMax + 1)).then(deliver);
    }
  }

  #sealed({ events }: SealedSegment): void {
    for (const event of events) if (event.kind === "barrier") this.barriers.push(event);
  }

  /** Writes one after the other, each at another gateway and only after the one before was acknowledged. */
  async client(): Promise<void> {
    while (!this.stopped) {
      const gateway = this.random.below(names.length);
      const submittedAt = this.clock.now();
      const submitted = this.#events++;
      const sector = this.random.below(sectors);
      const pending = this.disks[gateway]?.write(sector * 512, Buffer.alloc(512, submitted), this.random.chance(0.2));
      const sequence = this.logs[gateway]?.lastPosition?.sequence ?? 0;
      const write: Write = { gateway, sequence, submitted, submittedAt, acked: 1 / 0, ackedAt: 1 / 0 };
      this.writes.push(write);
      await pending;
      write.acked = this.#events++;
      write.ackedAt = this.clock.now();
      this.longestWaitMs = Math.max(this.longestWaitMs, write.ackedAt - submittedAt);
      if (this.random.chance(0.3)) await this.#look(gateway, sector);
      await this.clock.sleep(this.random.below(25));
    }
  }

  /** A read is answered like any other; what it shows was acknowledged, or its writer's own. */
  async #look(gateway: number, sector: number): Promise<void> {
    await this.disks[gateway]?.read(sector * 512, Buffer.alloc(512));
  }

  async run(ms: number): Promise<void> {
    const clients = Array.from({ length: 4 }, () => this.client());
    const links = new Map<number, () => void>();
    const end = this.clock.now() + ms;
    while (this.clock.now() < end) {
      await this.clock.advance(restMsMin + this.random.below(400));
      void this.coordinator.attempt();
      if (this.random.chance(0.1)) {
        const index = 1 + this.random.below(2);
        links.get(index)?.();
        links.set(index, this.connect(index));
      }
    }
    this.stopped = true;
    await this.clock.until(Promise.all(clients));
    await this.clock.advance(5000);
  }

  /** The recovery site has the first batch of every gateway but the coordinator. */
  othersDurable(): void {
    for (const log of this.logs.slice(1)) {
      log.encoded(0, 100, { payload: new ArrayBuffer(0), columns: new ArrayBuffer(0) }, new Uint8Array(32));
      log.acknowledged(0);
    }
  }

  /** What a barrier's image has that it must not, or lacks. */
  wrong(): string[] {
    return this.barriers.flatMap(({ time, vector }) => {
      const has = (write: Write): boolean => write.sequence <= (vector[write.gateway]?.sequence ?? 0);
      const newest = Math.max(-1, ...this.writes.filter(has).map(({ submitted }) => submitted));
      return this.writes
        .filter((write) => (has(write) ? write.submittedAt > time : write.acked < newest || write.ackedAt < time))
        .map((write) => `barrier of ${time} ${has(write) ? "has" : "lacks"} ${JSON.stringify(write)}`);
    });
  }
}

const seeds = process.env["SEED"] === undefined ? [1, 2, 3, 4, 5, 6] : [Number(process.env["SEED"])];
const bad: Weather = { lost: 0.04, doubled: 0.2, delayMsMax: heldWaitMs - 30 };

describe("barriers: SEED=n vitest run --project unit gateway/barrier/barrier.property.test.ts", () => {
  it.each(seeds)(
    "are one instant, with messages late, lost and doubled and connections lost, seed %i",
    async (seed) => {
      const world = new World(seed, bad);
      await world.run(20_000);
      expect(world.wrong()).toEqual([]);
      expect(world.barriers.length).toBeGreaterThan(5);
      expect(world.longestWaitMs).toBeLessThanOrEqual(holdMsMax);
      expect(world.gates.some(({ held }) => held)).toBe(false);
    },
  );

  it("are most of what is attempted in good weather, and hardly hold anybody", async () => {
    const world = new World(9, { lost: 0, doubled: 0, delayMsMax: 1 });
    await world.run(10_000);
    expect(world.barriers.length).toBeGreaterThan(12);
    expect(world.wrong()).toEqual([]);
    expect(world.longestWaitMs).toBeLessThanOrEqual(10);
  });

  it("would not be one instant if a gateway let go earlier than it says: the judge sees it", async () => {
    const world = new World(1, { ...bad, letsGoAfterMs: 10 });
    await world.run(60_000);
    expect(world.barriers.length).toBeGreaterThan(5);
    expect(world.wrong()).not.toEqual([]);
  });
});

/** A peer whose coordinator is the test. */
function onePeer() {
  const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
  const [log, gate] = [world.logs[1], world.gates[1]];
  if (log === undefined || gate === undefined) throw new Error("no peer");
  const said: FromPeer[] = [];
  const up = { send: (message: FromPeer) => void said.push(message), listen: () => undefined, close: () => undefined };
  const participant = new Participant(up, { log, gate, clock: world.clock });
  return { world, log, gate, said, participant };
}

describe("a barrier's parts", () => {
  it("a silent coordinator delays no guest beyond the bound, and its late release counts for nothing", async () => {
    const { world, log, gate, said, participant } = onePeer();
    const [, disk] = world.disks;
    participant.received({ kind: "hold", attempt: 1 });
    let answered = false;
    const write = Promise.resolve(disk?.write(0, Buffer.alloc(512, 1), false)).then(() => {
      answered = true;
    });
    const target = Buffer.alloc(512);
    let seen = false;
    const read = Promise.resolve(disk?.read(0, target)).then(() => {
      seen = true;
    });
    // Where nothing is held back, nothing waits.
    expect(disk?.read(4096, Buffer.alloc(512))).toBeUndefined();
    await world.clock.advance(holdMsMax - 1);
    expect([answered, seen]).toEqual([false, false]);
    await world.clock.advance(1);
    await Promise.all([write, read]);
    expect(target[0]).toBe(1);
    participant.received({ kind: "release", attempt: 1, tellDurable: false });
    // Neither the same attempt again nor an older one holds anything any more.
    participant.received({ kind: "hold", attempt: 1 });
    expect(gate.held).toBe(false);
    expect(said).toEqual([
      { kind: "held", attempt: 1, session: 2, sequence: 1 },
      { kind: "released", attempt: 1, ok: false },
    ]);
    // The write stands behind the position that was told.
    log.cut();
    expect(log.lastPosition).toEqual({ session: 2, sequence: 2 });
  });

  it("a new attempt or the end of the connection lets go of the one before", async () => {
    const { world, gate, said, participant } = onePeer();
    participant.received({ kind: "hold", attempt: 1 });
    let passed = false;
    void gate.passed().then(() => {
      passed = true;
    });
    participant.received({ kind: "hold", attempt: 2 });
    await world.clock.settle();
    // Whoever waited is through before anything is held again.
    expect([passed, gate.held]).toEqual([true, false]);
    participant.received({ kind: "release", attempt: 1, tellDurable: false });
    await world.clock.advance(restMsMin);
    participant.received({ kind: "hold", attempt: 3 });
    expect(gate.held).toBe(true);
    participant.closed();
    expect(gate.held).toBe(false);
    expect(said.slice(1)).toEqual([
      { kind: "refused", attempt: 2, mode: "resting" },
      { kind: "released", attempt: 1, ok: false },
      { kind: "held", attempt: 3, session: 2, sequence: 1 },
    ]);
  });

  it("says which gateway stops the VPG's checkpoints, and appends nothing while nothing changes", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
    const attempt = async () => {
      await world.clock.advance(restMsMin + restMarginMs);
      return world.clock.until(world.coordinator.attempt());
    };
    expect(await attempt()).toMatchObject({ kind: "made" });
    expect(await attempt()).toMatchObject({ kind: "made" });
    expect(world.barriers).toHaveLength(1);
    world.logs[2]?.setPaused(true);
    expect(await attempt()).toEqual({ kind: "failed", problem: 'gateway c is in mode "paused"' });
    world.connect(1)();
    expect(await attempt()).toEqual({ kind: "failed", problem: "gateway b is not connected to the barrier" });
    world.logs[0]?.setPaused(true);
    expect(await attempt()).toEqual({ kind: "failed", problem: 'gateway a is in mode "paused"' });
    expect(world.coordinator.problem).toBe('gateway a is in mode "paused"');
    expect(world.gates.some(({ held }) => held)).toBe(false);
  });

  it("one that is asked for comes through beside those of every interval, however they fall together", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 1 });
    let done = false;
    void world.coordinator.asked("now", new AbortController().signal).then(() => {
      done = true;
    });
    for (let interval = 0; interval < 3; interval += 1) {
      void world.coordinator.attempt();
      await world.clock.advance(1000);
    }
    expect(world.barriers.filter((barrier) => "tag" in barrier && barrier.tag === "now")).toHaveLength(1);
    expect(world.coordinator.problem).toBeNull();
    expect(done).toBe(false);
  });

  it("a checkpoint that is asked for is told once every gateway's part is durable", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
    let done: Position | undefined;
    const asked = world.coordinator.asked("now", new AbortController().signal).then((position) => {
      done = position;
    });
    await world.clock.advance(restMsMin + 100);
    expect(world.barriers).toMatchObject([{ tag: "now" }]);
    expect(done).toBeUndefined();
    world.othersDurable();
    await world.clock.until(asked);
    expect(done).toEqual({ session: 1, sequence: 2 });
  });

  it("an interval's attempt right behind one that was asked for waits until the gateways have rested", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
    const asked = world.coordinator.asked("now", new AbortController().signal);
    await world.clock.advance(10);
    world.othersDurable();
    await world.clock.until(asked);
    expect(await world.clock.until(world.coordinator.attempt())).toMatchObject({ kind: "made" });
    expect(world.coordinator.problem).toBeNull();
  });

  it("a gateway's older session answers for it no more, once a newer one did", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
    const { coordinator } = world;
    const [, gatewayId] = ids;
    if (gatewayId === undefined) throw new Error("no peer");
    const attemptWith = async (session: number) => {
      const channel: Channel<FromCoordinator, FromPeer> = {
        send: ({ kind, attempt }) => {
          const held = { kind: "held", attempt, session, sequence: 1 } as const;
          queueMicrotask(() =>
            coordinator.received(channel, kind === "hold" ? held : { kind: "released", attempt, ok: true }),
          );
        },
        listen: () => undefined,
        close: () => undefined,
      };
      coordinator.joined(gatewayId, channel);
      await world.clock.advance(restMsMin);
      return world.clock.until(coordinator.attempt());
    };
    expect(await attemptWith(2)).toMatchObject({ kind: "made" });
    expect(await attemptWith(7)).toMatchObject({ kind: "made" });
    // It still runs somewhere, reaches the coordinator and has not heard from the site that it is over.
    const problem = "gateway b answers for session 2, and its session 7 is newer";
    expect(await attemptWith(2)).toEqual({ kind: "failed", problem });
    expect(await attemptWith(7)).toMatchObject({ kind: "made" });
  });

  it("of several that are asked for at once each is told of its own", async () => {
    const world = new World(1, { lost: 0, doubled: 0, delayMsMax: 0 });
    const { signal } = new AbortController();
    const told: Position[] = [];
    for (const tag of ["one", "two"]) void world.coordinator.asked(tag, signal).then((position) => told.push(position));
    // The gateways rest from the first one's barrier when the second's is attempted.
    await world.clock.advance(restMsMin + 2 * askedPauseMs);
    expect(world.barriers).toMatchObject([{ tag: "one" }, { tag: "two" }]);
    world.othersDurable();
    await world.clock.advance(1);
    expect(told).toEqual([
      { session: 1, sequence: 2 },
      { session: 1, sequence: 3 },
    ]);
  });
});
