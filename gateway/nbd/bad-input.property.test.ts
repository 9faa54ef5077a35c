/** Clients that lie, stammer, hang up or never listen: the server lives on, holds nothing for them, and serves the next client. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FaultyDevice } from "../../test/kit/faulty-device.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { holds } from "../../test/kit/property.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { NbdClient } from "./client.ts";
import { connectionsMax, inFlightBytesPerConnectionMax, unsentRepliesMax } from "./limits.ts";
import { command, encodeGo, encodeOption, encodeRequest, option, requestBytes } from "./protocol.ts";
import { NbdServer } from "./server.ts";

const folder = mkdtempSync(join(tmpdir(), "farshore-bad-nbd-"));
const socketPath = join(folder, "nbd.sock");
const memory = new MemoryDevice(1024 * 1024);
const log = new QuietLog();
const server = new NbdServer({ log });

beforeAll(async () => {
  server.addExport("disk", new FaultyDevice(memory, 1, { isLate: 0.3 }));
  await server.listenUnix(socketPath);
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const clientFlags = Buffer.from([0, 0, 0, 3]);
const go = encodeOption(option.go, encodeGo("disk", []));

/** Sends the pieces, each in its own write, ends its side or hangs up, and resolves when the server has closed too. */
function talk(pieces: readonly Uint8Array[], ending: "end" | "destroy"): Promise<Buffer> {
  return new Promise((resolve) => {
    const answers: Buffer[] = [];
    const socket: Socket = connect(socketPath);
    socket.on("data", (bytes: Buffer) => answers.push(bytes));
    // The server may hang up while we still write: that is one of the answers that are looked for.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(Buffer.concat(answers)));
    for (const piece of pieces) {
      socket.write(piece);
    }
    if (ending === "end") {
      socket.end();
    } else {
      setImmediate(() => socket.destroy());
    }
  });
}

async function stillServes(): Promise<void> {
  await expect.poll(() => server.clients()).toEqual([]);
  await expect.poll(() => server.bytesInFlight).toBe(0);
  const client = await NbdClient.connect({ socketPath }, "disk");
  await client.write(0, Buffer.alloc(512, 1));
  expect((await client.read(0, 512))[511]).toBe(1);
  await client.disconnect();
}

const bytes = fc.uint8Array({ maxLength: 200 });
const someOption = fc
  .record({ code: fc.nat(12), data: bytes, lie: fc.option(fc.nat(0xffff_ffff), { nil: undefined, freq: 6 }) })
  .map(({ code, data, lie }) => {
    const message = encodeOption(code, data);
    if (lie !== undefined) {
      message.writeUInt32BE(lie, 12);
    }
    return message;
  });
const someRequest = fc
  .record({
    type: fc.nat(9),
    flags: fc.nat(40),
    handle: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    offset: fc.oneof(fc.nat(2 ** 20), fc.maxSafeNat()),
    length: fc.oneof(fc.nat(8192), fc.nat(0xffff_ffff)),
    payload: bytes,
  })
  .map((request) => Buffer.concat([encodeRequest(request), request.payload]));
const ending = fc.constantFrom<"end" | "destroy">("end", "destroy");

it.each([
  ["garbage", bytes.map((each) => [each])],
  ["options", fc.array(fc.oneof(someOption, bytes), { maxLength: 8 }).map((each) => [clientFlags, ...each])],
  ["a truncated choice of an export", fc.nat(go.length).map((cut) => [clientFlags, go.subarray(0, cut)])],
  ["requests", fc.array(fc.oneof(someRequest, bytes), { maxLength: 8 }).map((each) => [clientFlags, go, ...each])],
])("survives %s", async (_, pieces) => {
  await holds(
    fc.asyncProperty(pieces, ending, async (sent, how) => {
      await talk(sent, how);
    }),
    { numRuns: 60 },
  );
  await stillServes();
});

it("drops the connection after a false magic, and answers what came before", async () => {
  const read = encodeRequest({ type: command.read, flags: 0, handle: 7n, offset: 0, length: 512 });
  const answers = await talk([clientFlags, go, Buffer.alloc(requestBytes, 0xee), read], "end");
  expect(answers.includes(Buffer.from("67446698", "hex"))).toBe(false);
  await stillServes();
});

it("answers a write of 4 GiB with EINVAL and takes no byte of it", async () => {
  const write = encodeRequest({ type: command.write, flags: 0, handle: 7n, offset: 0, length: 0xffff_fe00 });
  const answers = await talk([clientFlags, go, write], "end");
  expect(answers.subarray(-16).toString("hex")).toBe("67446698" + "00000016" + "0000000000000007");
  await stillServes();
});

it("forgets a client that leaves in the middle of a large payload", async () => {
  const write = encodeRequest({ type: command.write, flags: 0, handle: 7n, offset: 0, length: 512 * 1024 });
  await talk([clientFlags, go, write, Buffer.alloc(100_000)], "end");
  await stillServes();
});

it("drops an option that claims 4 GiB", async () => {
  const message = encodeOption(option.list, Buffer.alloc(0));
  message.writeUInt32BE(0xffff_ffff, 12);
  await talk([clientFlags, message], "end");
  await stillServes();
});

it("drops a client that never chooses an export", async () => {
  const impatient = new NbdServer({ log, handshakeMs: 10 });
  impatient.addExport("disk", memory);
  const path = join(folder, "impatient.sock");
  await impatient.listenUnix(path);
  const socket = connect(path);
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  await expect.poll(() => impatient.clients()).toEqual([]);
  await impatient.close();
});

it("stops reading from a client that takes no replies, within its bound", async () => {
  const socket = connect(socketPath);
  socket.pause();
  socket.write(Buffer.concat([clientFlags, go]));
  const read = encodeRequest({ type: command.read, flags: 0, handle: 1n, offset: 0, length: 1024 * 1024 });
  socket.write(Buffer.concat(Array.from({ length: 1000 }, () => read)));
  await expect.poll(() => server.bytesInFlight).toBeGreaterThan(inFlightBytesPerConnectionMax / 2);
  const other = await NbdClient.connect({ socketPath }, "disk");
  for (let turn = 0; turn < 20; turn++) {
    await other.read(0, 4096);
    expect(server.bytesInFlight).toBeLessThanOrEqual(inFlightBytesPerConnectionMax + 4096);
  }
  await other.disconnect();
  socket.destroy();
  await stillServes();
});

it("stops reading from a client that takes no small replies either", async () => {
  const counted = new MemoryDevice(512);
  server.addExport("counted", counted);
  const socket = connect(socketPath);
  socket.pause();
  socket.write(Buffer.concat([clientFlags, encodeOption(option.go, encodeGo("counted", []))]));
  const flush = encodeRequest({ type: command.flush, flags: 0, handle: 1n, offset: 0, length: 0 });
  const requests = 50_000;
  socket.write(Buffer.concat(Array.from({ length: requests }, () => flush)));
  await expect.poll(() => counted.flushes).toBeGreaterThan(unsentRepliesMax);
  const other = await NbdClient.connect({ socketPath }, "disk");
  for (let turn = 0; turn < 200; turn++) {
    await other.read(0, 512);
  }
  expect(counted.flushes).toBeLessThan(requests);
  await other.disconnect();
  socket.destroy();
  await server.removeExport("counted");
  await stillServes();
});

it("refuses a large write whose export became read-only while its payload came", async () => {
  const image = new MemoryDevice(1024 * 1024);
  server.addExport("frozen", image);
  const socket = connect(socketPath);
  const answers: Buffer[] = [];
  socket.on("data", (piece: Buffer) => answers.push(piece));
  const write = encodeRequest({ type: command.write, flags: 0, handle: 7n, offset: 0, length: 512 * 1024 });
  socket.write(Buffer.concat([clientFlags, encodeOption(option.go, encodeGo("frozen", [])), write]));
  socket.write(Buffer.alloc(100_000, 1));
  await expect.poll(() => server.clients()[0]?.requestsInFlight).toBe(1);
  await server.setReadOnly("frozen");
  socket.write(Buffer.alloc(512 * 1024 - 100_000, 1));
  const answer = "67446698" + "00000001" + "0000000000000007";
  await expect.poll(() => Buffer.concat(answers).subarray(-16).toString("hex")).toBe(answer);
  expect(image.image.includes(1)).toBe(false);
  socket.destroy();
  await server.removeExport("frozen");
  await stillServes();
});

it("refuses connections past its bound and takes new ones when others have left", async () => {
  const sockets = Array.from({ length: connectionsMax + 20 }, () => connect(socketPath));
  for (const socket of sockets) {
    socket.on("error", () => socket.destroy());
  }
  await expect.poll(() => sockets.filter((socket) => socket.closed).length).toBe(20);
  expect(server.clients()).toHaveLength(connectionsMax);
  expect(log.entries.filter(({ event }) => event === "nbd.connection-refused")).toHaveLength(20);
  for (const socket of sockets) {
    socket.destroy();
  }
  await stillServes();
});
