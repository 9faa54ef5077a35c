import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { NbdClient } from "./client.ts";
import {
  encodeGreeting,
  encodeInfoExport,
  encodeOptionReply,
  option,
  optionReply,
  requestBytes,
  writeReply,
} from "./protocol.ts";

let server: Server | undefined;

afterEach(
  () =>
    new Promise<void>((resolve) => {
      server === undefined ? resolve() : server.close(() => resolve());
    }),
);

/** A server that says what it is told to: first after the connection, then after each message of the client. */
async function speak(...answers: readonly Buffer[]): Promise<{ readonly port: number }> {
  const listening = createServer((socket: Socket) => {
    const rest = [...answers];
    const next = (): void => {
      const answer = rest.shift();
      if (answer !== undefined) {
        socket.write(answer);
      }
    };
    // The client may drop us: that is what most of these tests want.
    socket.on("error", () => socket.destroy());
    socket.on("data", next);
    next();
  });
  server = listening;
  await new Promise<void>((resolve) => {
    listening.listen(0, "127.0.0.1", resolve);
  });
  const address = listening.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0 };
}

const infoExport = encodeOptionReply(option.go, optionReply.info, encodeInfoExport(1024 * 1024, 1));
const ack = encodeOptionReply(option.go, optionReply.ack);
const accept = Buffer.concat([infoExport, ack]);

function reply(handle: number, data = Buffer.alloc(0), error = 0): Buffer {
  const header = Buffer.alloc(16);
  writeReply(header, 0, error, 0, handle);
  return Buffer.concat([header, data]);
}

describe("NbdClient", () => {
  it.each([
    ["another protocol", [Buffer.from("SSH-2.0-OpenSSH_9.9, and so on")]],
    ["a false answer to GO", [encodeGreeting(), Buffer.alloc(100, 1)]],
    ["an answer to another option", [encodeGreeting(), encodeOptionReply(option.list, optionReply.ack)]],
    ["an acceptance without a description", [encodeGreeting(), ack]],
    [
      "a malformed description",
      [encodeGreeting(), Buffer.concat([encodeOptionReply(option.go, optionReply.info, Buffer.alloc(5)), ack])],
    ],
    ["a refusal", [encodeGreeting(), encodeOptionReply(option.go, optionReply.errUnsupported, Buffer.from("no"))]],
  ])("refuses a server with %s", async (_, answers) => {
    const address = await speak(...answers);
    await expect(NbdClient.connect(address, "disk")).rejects.toMatchObject({ name: "Transient" });
  });

  it("says Transient when nobody listens", async () => {
    await expect(NbdClient.connect({ socketPath: "/nonexistent/nbd.sock" }, "disk")).rejects.toMatchObject({
      name: "Transient",
    });
  });

  it.each([
    ["to nothing it asked", reply(99)],
    ["with a false magic", Buffer.alloc(16, 1)],
  ])("ends the connection at a reply %s, and every request fails", async (_, answer) => {
    const client = await NbdClient.connect(await speak(encodeGreeting(), accept, answer), "disk");
    const requests = await Promise.allSettled([client.read(0, 512), client.flush()]);
    expect(requests.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(client.read(0, 512)).rejects.toMatchObject({ name: "Transient" });
  });

  it("takes replies in any order and in any pieces", async () => {
    const data = Buffer.alloc(512, 5);
    const answer = Buffer.concat([reply(2), reply(1, data), reply(3, Buffer.alloc(0), 28), reply(4, data)]);
    const listening = await speak(encodeGreeting(), accept);
    server?.removeAllListeners("connection");
    server?.on("connection", (socket: Socket) => {
      socket.setNoDelay(true);
      let received = 0;
      socket.write(encodeGreeting());
      socket.on("data", async (bytes: Buffer) => {
        const before = received;
        received += bytes.length;
        if (before === 0) {
          socket.write(accept);
        } else if (received >= 4 * requestBytes + 512) {
          for (const byte of answer) {
            socket.write(Buffer.from([byte]));
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
      });
    });
    const client = await NbdClient.connect(listening, "disk");
    const read = client.read(0, 512);
    const flush = client.flush();
    const write = client.write(0, data).catch((error: unknown) => error);
    const second = client.read(512, 512);
    await flush;
    expect((await read).equals(data)).toBe(true);
    expect(await write).toMatchObject({ errno: "ENOSPC" });
    expect((await second).equals(data)).toBe(true);
    client.destroy();
  });

  it("refuses requests larger than the protocol allows", async () => {
    const client = await NbdClient.connect(await speak(encodeGreeting(), accept), "disk");
    await expect(client.read(0, 33 * 1024 * 1024)).rejects.toMatchObject({ name: "InvalidInput" });
    client.destroy();
  });
});
