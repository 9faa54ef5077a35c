import { once } from "node:events";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { InvalidInput } from "#core/errors.ts";
import type { HostAndPort } from "../config.ts";
import { helloMs, keepAliveMs } from "./limits.ts";

/** The key is all there is to know: who has it is a gateway of this VPG, and no certificate is asked for. */
const identity = "farshore-barrier";
const version = { minVersion: "TLSv1.3", maxVersion: "TLSv1.3" } as const;

/** Listens for the VPG's other source gateways. TLS 1.3 with the pre-shared key proves both ends and encrypts. */
export async function listenWithKey(
  { host, port }: HostAndPort,
  key: Uint8Array,
  onConnection: (socket: TLSSocket) => void,
): Promise<Server> {
  const psk = Buffer.from(key);
  const server = createServer(
    {
      ...version,
      handshakeTimeout: helloMs,
      pskCallback: (_socket, name) => (name === identity ? psk : null),
      pskIdentityHint: identity,
    },
    (socket) => {
      prepare(socket);
      onConnection(socket);
    },
  );
  // A handshake that fails has no connection to tell of; the peer's own log says why.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
    throw new InvalidInput(`barrier_listen ${host}:${port} can't be listened on (${code})`, {}, { cause: error });
  }
  return server;
}

/** Rejects when nobody listens there, or somebody without the key. */
export async function connectWithKey(
  { host, port }: HostAndPort,
  key: Uint8Array,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const socket = connect({
    ...version,
    host,
    port,
    pskCallback: () => ({ psk: key, identity }),
    // There is no certificate whose name could be looked at: the key is the proof.
    checkServerIdentity: () => undefined,
  });
  try {
    await once(socket, "secureConnect", { signal });
  } catch (error) {
    socket.on("error", () => undefined);
    socket.destroy();
    throw error;
  }
  prepare(socket);
  return socket;
}

function prepare(socket: TLSSocket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveMs);
}
