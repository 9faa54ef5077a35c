import { z } from "zod";
import { Corrupt } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { messageBytesMax } from "./limits.ts";

/** Number of an attempt in the coordinator's process, from 1; never used again on a connection. */
const attempt = z.int().min(1);

/** What a gateway says to its coordinator. The first message of a connection is `hello`, and no other one is. */
export const fromPeerSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hello"), vpgId: idSchema, gatewayId: idSchema }),
  /** Acknowledgements are withheld, and everything acknowledged before stands at or before the position. */
  z.strictObject({ kind: z.literal("held"), attempt, session: z.int().min(1), sequence: z.int().min(1) }),
  /** Nothing is withheld: no checkpoint could be valid now. */
  z.strictObject({ kind: z.literal("refused"), attempt, mode: z.string().max(40) }),
  /** `ok`: acknowledgements were withheld without a break from HELD to the RELEASE of this very attempt. */
  z.strictObject({ kind: z.literal("released"), attempt, ok: z.boolean() }),
  /** The recovery site has everything up to the position of the attempt. */
  z.strictObject({ kind: z.literal("durable"), attempt }),
]);
export type FromPeer = z.infer<typeof fromPeerSchema>;

export const fromCoordinatorSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hold"), attempt }),
  /** Whether the attempt succeeded or not; `tellDurable` asks for that message when it did. */
  z.strictObject({ kind: z.literal("release"), attempt, tellDurable: z.boolean() }),
]);
export type FromCoordinator = z.infer<typeof fromCoordinatorSchema>;

const lengthBytes = 4;

/** A message as it is sent: its length (u32, big endian), then JSON. */
export function encodeMessage(message: FromPeer | FromCoordinator): Buffer {
  const json = Buffer.from(JSON.stringify(message));
  const frame = Buffer.alloc(lengthBytes + json.length);
  frame.writeUInt32BE(json.length);
  frame.set(json, lengthBytes);
  return frame;
}

/** Cuts a stream of bytes into messages. Holds no more than one of them. */
export class MessageReader<Message> {
  readonly #schema: z.ZodType<Message>;
  #buffered = Buffer.alloc(0);

  constructor(schema: z.ZodType<Message>) {
    this.#schema = schema;
  }

  /** Throws `Corrupt` for what is too long, no JSON or no message; the connection is then of no more use. */
  *read(bytes: Buffer): Generator<Message> {
    let rest = this.#buffered.length === 0 ? bytes : Buffer.concat([this.#buffered, bytes]);
    while (rest.length >= lengthBytes) {
      const length = rest.readUInt32BE();
      if (length > messageBytesMax) throw new Corrupt(`a barrier message of ${length} bytes`);
      if (rest.length < lengthBytes + length) break;
      yield this.#parse(rest.subarray(lengthBytes, lengthBytes + length));
      rest = rest.subarray(lengthBytes + length);
    }
    this.#buffered = Buffer.from(rest);
  }

  #parse(json: Buffer): Message {
    try {
      return this.#schema.parse(JSON.parse(json.toString("utf8")));
    } catch (cause) {
      throw new Corrupt("a barrier message that is none", {}, { cause });
    }
  }
}
