import { z } from "zod";
import { chunksPerPage } from "#core/blocks/geometry.ts";
import { InvalidInput } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { positionSchema } from "#core/protection/term.ts";
import { hashBytes, pageHeaderBytesMax, pageObjectBytesMax } from "./limits.ts";

/**
 * What a gateway and a delta-sync tell each other of one page, as objects: the hashes of its suspects, and which of them are
 * wanted. Magic, length of the header (u32), the header as JSON, a bit for each of 2048 chunks (lowest first), and in a page's
 * hashes 32 bytes for each bit that is set, in order. They live for days and are no part of the journal's format.
 */

const identity = {
  vpgId: idSchema,
  operationId: idSchema,
  term: z.int().min(1),
  /** The session whose sync it is of: a want-list of another is refused. */
  session: z.int().min(1),
  volume: z.int().min(1).max(65_535),
  page: z.int().min(0).max(65_535),
};

const hashesHeader = z.strictObject({
  ...identity,
  kind: z.literal("hashes"),
  /** Of the volume, as its gateway has it. */
  sizeBytes: z.int().min(512).max(protectionLimits.volumeBytesMax),
  /** What they are to be compared with: the journal's image as of this position. */
  upTo: positionSchema,
});

const wantsHeader = z.strictObject({
  ...identity,
  kind: z.literal("wants"),
  /** SHA-256 of the object with the hashes that were compared. */
  hashesSha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Of one page: where it belongs, and the hashes of its chunks that are suspects. */
export interface PageHashes extends Omit<z.infer<typeof hashesHeader>, "kind"> {
  /** Numbers inside the page, ascending. */
  readonly chunks: readonly number[];
  /** 32 bytes each, in the order of `chunks`. */
  readonly hashes: Uint8Array;
}

/** Of one page: which of the chunks whose hashes came differ from the journal's. */
export interface PageWants extends Omit<z.infer<typeof wantsHeader>, "kind"> {
  readonly chunks: readonly number[];
}

const magic = "FSPG";
const prefixBytes = 8;
const bitmapBytes = chunksPerPage / 8;

export function encodePageHashes({ chunks, hashes, ...header }: PageHashes): Uint8Array {
  if (hashes.length !== chunks.length * hashBytes) throw new TypeError("a hash for each chunk");
  return encode({ kind: "hashes", ...header }, chunks, hashes);
}

export function encodePageWants({ chunks, ...header }: PageWants): Uint8Array {
  return encode({ kind: "wants", ...header }, chunks, new Uint8Array());
}

/** Throws `InvalidInput` for anything that isn't exactly one page's hashes. */
export function decodePageHashes(object: Uint8Array): PageHashes {
  const { header, chunks, rest } = decode(object, hashesHeader);
  if (rest.length !== chunks.length * hashBytes) throw malformed("not a hash for each chunk");
  const { kind: _, ...fields } = header;
  return { ...fields, chunks, hashes: rest };
}

/** Throws `InvalidInput` for anything that isn't exactly one page's wants. */
export function decodePageWants(object: Uint8Array): PageWants {
  const { header, chunks, rest } = decode(object, wantsHeader);
  if (rest.length !== 0) throw malformed("bytes behind the wants");
  const { kind: _, ...fields } = header;
  return { ...fields, chunks };
}

function encode(header: object, chunks: readonly number[], rest: Uint8Array): Uint8Array {
  const json = Buffer.from(JSON.stringify(header));
  const object = Buffer.alloc(prefixBytes + json.length + bitmapBytes + rest.length);
  object.write(magic, 0, "latin1");
  object.writeUInt32LE(json.length, 4);
  object.set(json, prefixBytes);
  const bitmap = object.subarray(prefixBytes + json.length, prefixBytes + json.length + bitmapBytes);
  for (const chunk of chunks) {
    if (!(chunk >= 0 && chunk < chunksPerPage)) throw new TypeError(`a page has no chunk ${chunk}`);
    bitmap[chunk >> 3] = (bitmap[chunk >> 3] ?? 0) | (1 << (chunk & 7));
  }
  object.set(rest, prefixBytes + json.length + bitmapBytes);
  return object;
}

function decode<Header>(object: Uint8Array, schema: z.ZodType<Header>) {
  if (object.length > pageObjectBytesMax) throw malformed(`${object.length} bytes`);
  const bytes = Buffer.from(object.buffer, object.byteOffset, object.byteLength);
  if (bytes.length < prefixBytes || bytes.toString("latin1", 0, 4) !== magic) throw malformed("another magic");
  const headerBytes = bytes.readUInt32LE(4);
  const end = prefixBytes + headerBytes + bitmapBytes;
  if (headerBytes > pageHeaderBytesMax || bytes.length < end) throw malformed("cut off");
  const header = parseInput(schema, jsonOf(bytes.toString("utf8", prefixBytes, prefixBytes + headerBytes)));
  const bitmap = bytes.subarray(prefixBytes + headerBytes, end);
  const chunks: number[] = [];
  for (let chunk = 0; chunk < chunksPerPage; chunk += 1) {
    if (((bitmap[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0) chunks.push(chunk);
  }
  return { header, chunks, rest: bytes.subarray(end) };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("a header that is not JSON");
  }
}

function malformed(why: string): InvalidInput {
  return new InvalidInput(`not the hashes or wants of a page: ${why}`, { field: "body" });
}
