import type { Duplex } from "node:stream";
import type { z } from "zod";
import { encodeMessage, type FromCoordinator, type FromPeer, MessageReader } from "./messages.ts";

/** One end of a connection between a gateway and its coordinator; a test puts a faulty one in its place. */
export interface Channel<Out, In> {
  /** Dropped when the connection is gone. */
  send(message: Out): void;
  /** Once. `closed` is called once, after the last message, also when this end closed it. */
  listen(hears: { readonly received: (message: In) => void; readonly closed: () => void }): void;
  close(): void;
}

export type PeerChannel = Channel<FromPeer, FromCoordinator>;
export type CoordinatorChannel = Channel<FromCoordinator, FromPeer>;

/** Messages over a socket. What can't be read closes it; `onTrouble` is told why. */
export function socketChannel<Out extends FromPeer | FromCoordinator, In>(
  socket: Duplex,
  schema: z.ZodType<In>,
  onTrouble: (error: unknown) => void,
): Channel<Out, In> {
  const reader = new MessageReader(schema);
  socket.on("error", onTrouble);
  return {
    send: (message) => {
      if (!socket.destroyed) socket.write(encodeMessage(message));
    },
    listen: ({ received, closed }) => {
      socket.on("data", (bytes: Buffer) => {
        try {
          for (const message of reader.read(bytes)) {
            // This end may have closed it on account of the message before.
            if (!socket.destroyed) received(message);
          }
        } catch (error) {
          onTrouble(error);
          socket.destroy();
        }
      });
      if (socket.destroyed) closed();
      else socket.once("close", closed);
    },
    close: () => socket.destroy(),
  };
}
