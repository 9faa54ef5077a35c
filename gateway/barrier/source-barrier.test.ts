import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { idSchema } from "#core/ids.ts";
import type { Clock } from "#core/ports.ts";
import { freePort } from "../../scripts/demo/stage.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import type { SealedSegment } from "../tap/segment.ts";
import { SessionLog } from "../tap/session-log.ts";
import { messageBytesMax } from "./limits.ts";
import { encodeMessage, fromCoordinatorSchema, fromPeerSchema, MessageReader } from "./messages.ts";
import { connectWithKey } from "./secure-transport.ts";
import { SourceBarrier } from "./source-barrier.ts";

const vpgId = idSchema.parse("01k3vpg0000000000000000001");
const [a, b] = ["a", "b"].map((name) => ({ gatewayId: idSchema.parse(`01k3gatew0000000000000000${name}`), name }));
if (a === undefined || b === undefined) throw new Error("no gateways");
const group = { gateways: [a, b] };
const key = randomBytes(32);
const clock = new SystemClock();

describe("barriers over TLS with a pre-shared key", () => {
  let address = { host: "127.0.0.1", port: 0 };
  let events: QuietLog;
  const open: SourceBarrier[] = [];
  const sealed: SealedSegment[] = [];

  beforeEach(async () => {
    address = { host: "127.0.0.1", port: await freePort() };
    events = new QuietLog();
    sealed.length = 0;
  });
  afterEach(async () => {
    for (const barrier of open.splice(0)) await barrier.close();
  });

  const logOf = (session: number): SessionLog => {
    const log = new SessionLog({ sizes: [2 ** 20], bufferBytes: 96 * 2 ** 20, clock });
    const sink = { push: (segment: SealedSegment) => void sealed.push(segment) };
    log.attach({ term: 1, session, journalVolumes: [session], checkpoints: "barriers" }, sink, { kind: "continues" });
    return log;
  };
  const start = async (own: typeof a, sharedKey = key): Promise<SourceBarrier> => {
    const listens = own === a;
    const config = { listen: listens ? address : undefined, connect: listens ? undefined : address, key: sharedKey };
    const barrier = await SourceBarrier.open({ config, clock, events });
    open.push(barrier);
    barrier.opened(vpgId, { ...group, gatewayId: own.gatewayId }, logOf(listens ? 1 : 2));
    return barrier;
  };
  const until = async (met: () => boolean): Promise<void> => {
    for (let tries = 0; tries < 500; tries += 1) {
      if (met()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never: ${JSON.stringify(events.entries)}`);
  };
  const told = (event: string) => events.entries.some((entry) => entry.event === event);
  const barriers = () => sealed.flatMap(({ events: all }) => all.filter(({ kind }) => kind === "barrier"));

  it("make a record of both gateways' positions", async () => {
    const coordinator = await start(a);
    await start(b);
    await until(() => told("barrier.joined"));
    coordinator.tick();
    await until(() => barriers().length > 0);
    expect(coordinator.problem).toBeNull();
    expect(barriers()).toMatchObject([{ vector: [{ session: 1 }, { session: 2 }] }]);
  });

  it("are asked for ever less often, and said to be out of reach once, while the coordinator has no session", async () => {
    const pauses: number[] = [];
    const hasty: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: async (ms) => void pauses.push(ms),
    };
    open.push(await SourceBarrier.open({ config: { listen: address, connect: undefined, key }, clock, events }));
    const config = { listen: undefined, connect: address, key };
    const peer = await SourceBarrier.open({ config, clock: hasty, events });
    open.push(peer);
    peer.opened(vpgId, { ...group, gatewayId: b.gatewayId }, logOf(2));
    await until(() => pauses.length >= 7);
    expect(pauses.slice(0, 7)).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000]);
    expect(told("barrier.connected")).toBe(false);
    expect(events.entries.filter(({ event }) => event === "barrier.unreachable")).toHaveLength(1);
  });

  it("are refused without the key, also on loopback", async () => {
    const coordinator = await start(a);
    await start(b, randomBytes(32));
    await until(() => told("barrier.unreachable"));
    coordinator.tick();
    await until(() => coordinator.problem !== null);
    expect(coordinator.problem).toBe("gateway b is not connected to the barrier");
  });

  it.each<[string, () => Buffer]>([
    ["garbage", () => randomBytes(64)],
    ["a message beyond the bound", () => Buffer.from(Uint32Array.of(0xffff_ffff).buffer)],
    ["no JSON", () => Buffer.from([0, 0, 0, 1, 0x7b])],
    ["a gateway that is none of the VPG's", () => encodeMessage({ kind: "hello", vpgId, gatewayId: vpgId })],
    ["another VPG", () => encodeMessage({ kind: "hello", vpgId: b.gatewayId, gatewayId: b.gatewayId })],
    ["anything before hello", () => encodeMessage({ kind: "released", attempt: 1, ok: true })],
  ])("drop who has the key and says %s", async (_, said) => {
    const coordinator = await start(a);
    const socket = await connectWithKey(address, key, AbortSignal.timeout(5000));
    const closed = once(socket, "close");
    socket.on("error", () => undefined);
    socket.write(said());
    await closed;
    coordinator.tick();
    await until(() => coordinator.problem !== null);
    expect(coordinator.problem).toContain("not connected");
  });

  it("hear nothing more of a connection that they dropped, also of what came with the last of it", async () => {
    await start(a);
    await start(b);
    await until(() => told("barrier.joined"));
    const socket = await connectWithKey(address, key, AbortSignal.timeout(5000));
    const closed = once(socket, "close");
    socket.on("error", () => undefined);
    const wrong = encodeMessage({ kind: "released", attempt: 1, ok: true });
    socket.write(Buffer.concat([wrong, encodeMessage({ kind: "hello", vpgId, gatewayId: b.gatewayId })]));
    await closed;
    expect(told("barrier.stranger")).toBe(true);
    expect(events.entries.filter(({ event }) => event === "barrier.joined")).toHaveLength(1);
  });
});

describe("barrier messages", () => {
  it("are read from any cut of the stream, one after the other", () => {
    const all = [
      { kind: "hello", vpgId, gatewayId: a.gatewayId },
      { kind: "held", attempt: 1, session: 2, sequence: 3 },
      { kind: "refused", attempt: 2, mode: "x".repeat(40) },
      { kind: "durable", attempt: 1 },
    ] as const;
    const bytes = Buffer.concat(all.map(encodeMessage));
    for (const step of [1, 3, 7, bytes.length]) {
      const reader = new MessageReader(fromPeerSchema);
      const read: unknown[] = [];
      for (let at = 0; at < bytes.length; at += step) read.push(...reader.read(bytes.subarray(at, at + step)));
      expect(read).toEqual(all);
    }
  });

  it("are refused when they say more or less than they must, or the other side's", () => {
    const refused = (value: object): void => {
      const json = Buffer.from(JSON.stringify(value));
      const length = Buffer.alloc(4);
      length.writeUInt32BE(json.length);
      const reader = new MessageReader(fromCoordinatorSchema);
      expect(() => [...reader.read(Buffer.concat([length, json]))], JSON.stringify(value)).toThrow("barrier message");
    };
    refused({ kind: "hold" });
    refused({ kind: "hold", attempt: 0 });
    refused({ kind: "hold", attempt: 1, more: true });
    refused({ kind: "release", attempt: 1.5, tellDurable: true });
    refused({ kind: "held", attempt: 1, session: 1, sequence: 1 });
    refused({ kind: "hold", attempt: 1, padding: "x".repeat(messageBytesMax) });
  });
});
