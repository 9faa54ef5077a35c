import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyDevice } from "../../test/kit/faulty-device.ts";
import { HeldDevice } from "../../test/kit/held-device.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import type { BlockDevice } from "../disk/block-device.ts";
import { NbdClient } from "./client.ts";
import { inFlightRequestsPerConnectionMax, requestBytesMax } from "./limits.ts";
import { NbdServer } from "./server.ts";

const MiB = 1024 * 1024;
let folder: string;
let socketPath: string;
let log: QuietLog;
let server: NbdServer;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "farshore-nbd-"));
  socketPath = join(folder, "nbd.sock");
  log = new QuietLog();
  server = new NbdServer({ log });
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(device: BlockDevice, options: { readonly readOnly?: boolean } = {}): Promise<NbdClient> {
  server.addExport("disk", device, options);
  await server.listenUnix(socketPath);
  return NbdClient.connect({ socketPath }, "disk");
}

describe.each([
  ["own buffers, a disk that is at once", true, 0],
  ["own buffers, a disk that is late and out of order", true, 0.7],
  ["copied input, a disk that is late and out of order", false, 0.7],
])("%s", (_, ownBuffers, isLate) => {
  it("does what clients on several connections ask, pipelined, of all sizes", async () => {
    const seed = 20_261;
    const memory = new MemoryDevice(24 * MiB);
    server = new NbdServer({ log, ownBuffers });
    server.addExport("disk", new FaultyDevice(memory, seed, { isLate }));
    await server.listenUnix(socketPath);
    const random = new SeededRandom(seed);
    const expected = Buffer.alloc(memory.sizeBytes);
    const clients = await Promise.all([1, 2, 3].map(() => NbdClient.connect({ socketPath }, "disk")));
    // Each client has its own third of the disk, and of it each request of a round its own part: no order between requests is needed.
    const perform = async (client: NbdClient, base: number): Promise<void> => {
      const part = MiB / 2;
      await Promise.all(
        Array.from({ length: 16 }, async (__, index) => {
          const offset = base + index * part;
          const length = 512 * (1 + random.below(random.chance(0.3) ? part / 512 : 16));
          if (random.chance(0.6)) {
            const bytes = Buffer.alloc(length, random.below(256));
            bytes.copy(expected, offset);
            await client.write(offset, bytes, { fua: random.chance(0.1) });
          } else if (random.chance(0.2)) {
            expected.fill(0, offset, offset + length);
            await (random.chance(0.5) ? client.writeZeroes(offset, length) : client.trim(offset, length));
          } else {
            const bytes = await client.read(offset, length);
            expect(bytes.equals(expected.subarray(offset, offset + length)), `read at ${offset}`).toBe(true);
          }
        }),
      );
    };
    for (let round = 0; round < 6; round++) {
      await Promise.all(clients.map((client, index) => perform(client, index * 8 * MiB)));
    }
    await Promise.all(clients.map((client) => client.flush()));
    expect(memory.image.equals(expected), `seed ${seed}`).toBe(true);
    await Promise.all(clients.map((client) => client.disconnect()));
    await expect.poll(() => server.clients()).toEqual([]);
    await expect.poll(() => server.bytesInFlight).toBe(0);
    expect(memory.flushes).toBeGreaterThan(0);
  });
});

describe("requests", () => {
  it("carries the largest request, and many that exceed the bound of what may be in flight", async () => {
    const memory = new MemoryDevice(requestBytesMax);
    const client = await serve(new FaultyDevice(memory, 1, { isLate: 1 }));
    const bytes = Buffer.alloc(requestBytesMax, 0x5a);
    await client.write(0, bytes);
    expect(memory.image.equals(bytes)).toBe(true);
    const reads = await Promise.all(Array.from({ length: 5 }, () => client.read(0, requestBytesMax)));
    expect(reads.every((each) => each.equals(bytes))).toBe(true);
    const small = await Promise.all(Array.from({ length: 4000 }, (_, index) => client.read((index % 100) * 512, 512)));
    expect(small.every((each) => each.equals(bytes.subarray(0, 512)))).toBe(true);
    await client.disconnect();
    await expect.poll(() => server.bytesInFlight).toBe(0);
  });

  it("takes a bounded number of requests from one client at a time", async () => {
    const memory = new HeldDevice(MiB);
    const client = await serve(memory);
    const writes = Array.from({ length: 3000 }, (_, index) => client.write((index % 2048) * 512, Buffer.alloc(512, 1)));
    await expect.poll(() => memory.held).toBe(inFlightRequestsPerConnectionMax);
    expect(server.clients()[0]?.requestsInFlight).toBe(inFlightRequestsPerConnectionMax);
    let done = false;
    const all = Promise.all(writes).then(() => {
      done = true;
    });
    while (!done) {
      expect(memory.held).toBeLessThanOrEqual(inFlightRequestsPerConnectionMax);
      memory.letGo();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await all;
    await client.disconnect();
  });

  it("answers what the disk can't do with its error, and goes on", async () => {
    const memory = new MemoryDevice(MiB);
    const disk = new FaultyDevice(memory, 1, { readFails: 1, writeFails: 1, flushFails: 1 });
    const client = await serve(disk);
    const eio = { errno: "EIO" };
    await expect(client.read(0, 512)).rejects.toMatchObject(eio);
    await expect(client.read(0, MiB)).rejects.toMatchObject(eio);
    await expect(client.write(0, Buffer.alloc(512))).rejects.toMatchObject(eio);
    await expect(client.write(0, Buffer.alloc(MiB))).rejects.toMatchObject(eio);
    await expect(client.writeZeroes(0, 512)).rejects.toMatchObject(eio);
    await expect(client.trim(0, 512)).rejects.toMatchObject(eio);
    await expect(client.flush()).rejects.toMatchObject(eio);
    Object.assign(disk.faults, { readFails: 0, writeFails: 0, flushFails: 0 });
    await client.write(0, Buffer.alloc(512, 1), { fua: true });
    expect((await client.read(0, 512))[0]).toBe(1);
    expect(log.entries.filter(({ event }) => event === "nbd.request-failed")).toHaveLength(1);
    await client.disconnect();
  });

  it("refuses what the export forbids, large payloads included, and goes on", async () => {
    const client = await serve(new MemoryDevice(MiB, { sectorBytes: 4096 }));
    await expect(client.write(MiB, Buffer.alloc(4096))).rejects.toMatchObject({ errno: "ENOSPC" });
    await expect(client.write(MiB / 2, Buffer.alloc(MiB))).rejects.toMatchObject({ errno: "ENOSPC" });
    await expect(client.read(MiB, 4096)).rejects.toMatchObject({ errno: "EINVAL" });
    await expect(client.read(512, 4096)).rejects.toMatchObject({ errno: "EINVAL" });
    await expect(client.write(0, Buffer.alloc(512))).rejects.toMatchObject({ errno: "EINVAL" });
    await client.write(0, Buffer.alloc(4096, 3));
    expect((await client.read(0, 4096))[4095]).toBe(3);
    expect(client.blockBytesMin).toBe(4096);
    await client.disconnect();
  });

  it("answers all requests before a good-bye takes effect", async () => {
    const memory = new MemoryDevice(MiB);
    const client = await serve(new FaultyDevice(memory, 5, { isLate: 1 }));
    const writes = Array.from({ length: 50 }, (_, index) => client.write(index * 512, Buffer.alloc(512, index + 1)));
    await Promise.all([client.disconnect(), ...writes]);
    expect(memory.image[49 * 512]).toBe(50);
  });
});

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const turn = new Promise((resolve) => setImmediate(() => resolve(isPending)));
  return (await Promise.race([promise, turn])) === isPending;
}

describe("exports", () => {
  it("tells what each can do", async () => {
    const client = await serve(new MemoryDevice(MiB), { readOnly: true });
    expect(client).toMatchObject({ sizeBytes: MiB, readOnly: true, canTrim: false });
    await expect(client.write(0, Buffer.alloc(512))).rejects.toMatchObject({ errno: "EPERM" });
    server.addExport("second", new MemoryDevice(MiB), { description: "another" });
    expect(server.list().map(({ name }) => name)).toEqual(["disk", "second"]);
    const second = await NbdClient.connect({ socketPath }, "second");
    expect(second).toMatchObject({ readOnly: false, canTrim: true });
    await expect(NbdClient.connect({ socketPath }, "third")).rejects.toMatchObject({ name: "NotFound" });
    await expect(NbdClient.connect({ socketPath }, "")).rejects.toMatchObject({ name: "NotFound" });
    await second.disconnect();
    await client.disconnect();
  });

  it("gives the only export to a client that names none", async () => {
    const client = await serve(new MemoryDevice(MiB));
    const other = await NbdClient.connect({ socketPath }, "");
    expect(other.sizeBytes).toBe(MiB);
    expect(server.clients()).toEqual([
      { exportName: "disk", transport: "unix", requestsInFlight: 0 },
      { exportName: "disk", transport: "unix", requestsInFlight: 0 },
    ]);
    other.destroy();
    await client.disconnect();
  });

  it("becomes read-only after the writes that are with the disk, and refuses the next", async () => {
    const memory = new HeldDevice(MiB);
    const client = await serve(memory);
    const write = client.write(0, Buffer.alloc(512, 7));
    await expect.poll(() => memory.held).toBe(1);
    const readOnly = server.setReadOnly("disk");
    expect(await isPending(readOnly)).toBe(true);
    memory.letGo();
    await readOnly;
    expect(memory.image[0]).toBe(7);
    await write;
    await expect(client.write(0, Buffer.alloc(512, 8))).rejects.toMatchObject({ errno: "EPERM" });
    await expect(client.write(0, Buffer.alloc(MiB, 8))).rejects.toMatchObject({ errno: "EPERM" });
    expect(memory.image[0]).toBe(7);
    await client.disconnect();
  });

  it("drops its clients when asked or removed, and waits for the disk", async () => {
    const memory = new HeldDevice(MiB);
    const client = await serve(memory);
    const write = client.write(0, Buffer.alloc(512, 7)).catch((error: unknown) => error);
    await expect.poll(() => memory.held).toBe(1);
    const dropped = server.dropClients("disk");
    await expect.poll(() => server.clients()).toEqual([]);
    expect(await isPending(dropped)).toBe(true);
    memory.letGo();
    await dropped;
    expect(memory.image[0]).toBe(7);
    expect(server.clients()).toEqual([]);
    expect(await write).toMatchObject({ name: "Transient" });
    const again = await NbdClient.connect({ socketPath }, "disk");
    await server.removeExport("disk");
    await server.removeExport("disk");
    await expect(again.read(0, 512)).rejects.toMatchObject({ name: "Transient" });
    await expect(NbdClient.connect({ socketPath }, "disk")).rejects.toMatchObject({ name: "NotFound" });
    expect(() => server.setReadOnly("disk")).toThrow(expect.objectContaining({ name: "NotFound" }));
    await expect.poll(() => server.bytesInFlight).toBe(0);
  });

  it("refuses names that are taken or no strings of the protocol", () => {
    server.addExport("disk", new MemoryDevice(512));
    for (const name of ["disk", "a\0b", "x".repeat(5000)]) {
      expect(() => server.addExport(name, new MemoryDevice(512))).toThrow(
        expect.objectContaining({ name: "InvalidInput" }),
      );
    }
  });
});

describe("addresses", () => {
  it("listens on loopback TCP only", async () => {
    server.addExport("disk", new MemoryDevice(MiB));
    const port = await server.listenTcp(0);
    const client = await NbdClient.connect({ port }, "disk");
    await client.write(0, Buffer.alloc(512, 1));
    expect(server.clients()[0]?.transport).toBe("tcp");
    await client.disconnect();
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"]) {
      await expect(server.listenTcp(0, host)).rejects.toMatchObject({ name: "InvalidInput" });
    }
    await expect(server.listenTcp(port)).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  it("makes its socket private, and takes it away at the end", async () => {
    await serve(new MemoryDevice(MiB));
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    await server.close();
    expect(existsSync(socketPath)).toBe(false);
  });

  it("replaces a stale socket, but no live one and nothing else", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(join(folder, "bound"), resolve);
    });
    renameSync(join(folder, "bound"), socketPath);
    await expect(server.listenUnix(socketPath)).rejects.toMatchObject({ name: "InvalidInput" });
    const taken = join(folder, "taken");
    writeFileSync(taken, "data");
    await expect(server.listenUnix(taken)).rejects.toMatchObject({ name: "InvalidInput" });
    await expect(server.listenUnix(join(folder, "x".repeat(100)))).rejects.toMatchObject({ name: "InvalidInput" });
    // Under its new name the socket outlives its server, as that of a killed process does.
    await new Promise<void>((resolve) => {
      other.close(() => resolve());
    });
    expect(statSync(socketPath).isSocket()).toBe(true);
    server.addExport("disk", new MemoryDevice(MiB));
    await server.listenUnix(socketPath);
    const client = await NbdClient.connect({ socketPath }, "disk");
    await client.disconnect();
  });
});
