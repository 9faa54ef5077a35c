import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";

/**
 * The application's own log of its writes, independent of Farshore: what was submitted (with its bytes) and what was acknowledged.
 * Record: kind u8 (1 submitted, 2 acknowledged), volume u8, zero u16, length u32, number u64, offset u64 (little endian), then the
 * bytes of a submitted write. A submission is in the file before the request leaves; an acknowledgement after it came.
 */
const headerBytes = 24;
const submitted = 1;
const acknowledged = 2;

export interface LoggedWrite {
  readonly volume: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class WriteLog {
  readonly #file: number;
  #number = 0;

  constructor(path: string) {
    this.#file = openSync(path, "w");
  }

  /** Returns the write's number, from 1. */
  submit(volume: number, offset: number, bytes: Uint8Array): number {
    this.#number += 1;
    writeSync(this.#file, Buffer.concat([header(submitted, volume, this.#number, offset, bytes.length), bytes]));
    return this.#number;
  }

  acknowledge(number: number): void {
    writeSync(this.#file, header(acknowledged, 0, number, 0, 0));
  }

  close(): void {
    closeSync(this.#file);
  }
}

function header(kind: number, volume: number, number: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(headerBytes);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt8(volume, 1);
  bytes.writeUInt32LE(length, 4);
  bytes.writeBigUInt64LE(BigInt(number), 8);
  bytes.writeBigUInt64LE(BigInt(offset), 16);
  return bytes;
}

/** Calls `visit` for each submitted write, in order; returns how many were submitted and acknowledged. A torn last record is the end. */
export function readWriteLog(
  path: string,
  visit: (write: LoggedWrite, number: number) => void,
): { submitted: number; acknowledged: number } {
  const file = openSync(path, "r");
  const size = fstatSync(file).size;
  const counts = { submitted: 0, acknowledged: 0 };
  const head = Buffer.alloc(headerBytes);
  for (let at = 0; at + headerBytes <= size; ) {
    readSync(file, head, 0, headerBytes, at);
    const length = head.readUInt32LE(4);
    if (at + headerBytes + length > size) break;
    const number = Number(head.readBigUInt64LE(8));
    if (head.readUInt8(0) === submitted) {
      const bytes = new Uint8Array(length);
      readSync(file, bytes, 0, length, at + headerBytes);
      counts.submitted = number;
      visit({ volume: head.readUInt8(1), offset: Number(head.readBigUInt64LE(16)), bytes }, number);
    } else {
      counts.acknowledged = number;
    }
    at += headerBytes + length;
  }
  closeSync(file);
  return counts;
}
