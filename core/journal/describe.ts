import type { BatchHeader, Seal } from "./batch.ts";
import { extentKinds } from "./batch.ts";
import { decodeObject } from "./decode.ts";
import { decodeFrame } from "./frame.ts";
import { batchHash } from "./hash.ts";
import type { Position } from "./position.ts";

/** One record as people read it. */
export interface DescribedRecord {
  readonly sequence: number;
  readonly kind: string;
  readonly volume?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly frame?: number;
  readonly frameOffset?: number;
  readonly time?: number;
  readonly tag?: string;
  readonly sizeBytes?: number;
  readonly operationId?: string;
  /** Hexadecimal. */
  readonly hash?: string;
  readonly vector?: readonly Position[];
}

/** An object in plain values, ready for JSON or for columns. */
export type DescribedObject =
  | (Seal & { readonly kind: "seal"; readonly sha256: string })
  | (Omit<BatchHeader, "extents" | "events" | "previousHash"> & {
      readonly kind: "batch";
      readonly sha256: string;
      readonly previousHash: string;
      readonly records: readonly DescribedRecord[];
    });

/**
 * Everything a whole journal object says, after every check that needs no other object: its SHA-256, its fields, its
 * frames. Throws `MalformedBatch` with `details.field`, or `UnsupportedFormat`.
 */
export function describeObject(bytes: Uint8Array): DescribedObject {
  const object = decodeObject(bytes);
  const sha256 = hex(batchHash(bytes));
  if (object.kind === "seal") return { kind: "seal", sha256, ...object.seal };
  const { extents, events, previousHash, ...facts } = object.header;
  for (const [index, frame] of facts.frames.entries()) {
    decodeFrame(object.header, index, bytes.subarray(frame.start, frame.start + frame.storedLength), "received");
  }
  return { kind: "batch", sha256, ...facts, previousHash: hex(previousHash), records: describeRecords(object.header) };
}

function describeRecords(header: BatchHeader): DescribedRecord[] {
  const { count, kind, volume, sequenceDelta, offset, length, frame, frameOffset } = header.extents;
  const records: DescribedRecord[] = header.events.map((event) =>
    event.kind === "final" ? { ...event, hash: hex(event.hash) } : event,
  );
  for (let index = 0; index < count; index += 1) {
    const place = {
      sequence: header.firstSequence + (sequenceDelta[index] ?? 0),
      volume: volume[index] ?? 0,
      offset: offset[index] ?? 0,
      length: length[index] ?? 0,
    };
    const stored = { frame: frame[index] ?? 0, frameOffset: frameOffset[index] ?? 0 };
    records.push(
      kind[index] === extentKinds.zero ? { kind: "zero", ...place } : { kind: "write", ...place, ...stored },
    );
  }
  return records.sort((left, right) => left.sequence - right.sequence);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
