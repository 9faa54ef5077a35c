import { hash } from "node:crypto";

/**
 * The demo's application: a ledger on two volumes of one VM. Transaction n appends a block to the log volume (chained by hash to
 * the block before) and, once that is acknowledged, updates the account's page on the data volume. So at any instant: the chain is
 * unbroken, and a page never shows a transaction that the log does not hold. Block 4096 bytes, little endian:
 * magic u32, kind u32, n u64, account u64, balance u64, hash of the log block before (32), filler, SHA-256 of all before it (32).
 */
export const blockBytes = 4096;
export const accounts = 1024;
export const volumeNames = ["data", "log"] as const;
export const dataVolume = 0;
export const logVolume = 1;
const magic = 0x4c454447;
const sumAt = blockBytes - 32;
const kinds = { page: 1, entry: 2 } as const;

export interface Block {
  readonly n: number;
  readonly account: number;
  readonly balance: number;
  readonly previous: Buffer;
  readonly sum: Buffer;
}

export function makeBlock(
  kind: keyof typeof kinds,
  n: number,
  account: number,
  balance: number,
  previous: Uint8Array,
): Buffer {
  const block = Buffer.alloc(blockBytes);
  block.writeUInt32LE(magic, 0);
  block.writeUInt32LE(kinds[kind], 4);
  block.writeBigUInt64LE(BigInt(n), 8);
  block.writeBigUInt64LE(BigInt(account), 16);
  block.writeBigUInt64LE(BigInt(balance), 24);
  block.set(previous, 32);
  // Half of the block is noise that does not compress, as in a real database page.
  for (let at = 64; at < blockBytes / 2; at += 32) block.set(hash("sha256", `${n}/${at}`, "buffer"), at);
  block.set(hash("sha256", block.subarray(0, sumAt), "buffer"), sumAt);
  return block;
}

/** The block, undefined for one that was never written, "damaged" when its checksum does not hold. */
export function readBlock(bytes: Buffer): Block | "damaged" | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  const sum = hash("sha256", bytes.subarray(0, sumAt), "buffer");
  if (bytes.readUInt32LE(0) !== magic || !sum.equals(bytes.subarray(sumAt))) return "damaged";
  return {
    n: Number(bytes.readBigUInt64LE(8)),
    account: Number(bytes.readBigUInt64LE(16)),
    balance: Number(bytes.readBigUInt64LE(24)),
    previous: bytes.subarray(32, 64),
    sum: Buffer.from(sum),
  };
}

export const entryOffset = (n: number): number => (n - 1) * blockBytes;
export const pageOffset = (account: number): number => account * blockBytes;

/** The application's own consistency check over whole images. */
export function checkLedger(data: Buffer, log: Buffer): { transactions: number; problems: readonly string[] } {
  const problems: string[] = [];
  const entries = new Map<number, Block>();
  let previous: Buffer = Buffer.alloc(32);
  let n = 0;
  for (;;) {
    const at = entryOffset(n + 1);
    if (at + blockBytes > log.length) break;
    const entry = readBlock(log.subarray(at, at + blockBytes));
    if (entry === undefined) break;
    n += 1;
    if (entry === "damaged" || entry.n !== n || !entry.previous.equals(previous)) {
      problems.push(`log entry ${n} is damaged or breaks the chain`);
      break;
    }
    entries.set(n, entry);
    previous = entry.sum;
  }
  for (let account = 0; account < accounts; account += 1) {
    const at = pageOffset(account);
    const page = readBlock(data.subarray(at, at + blockBytes));
    if (page === undefined) continue;
    if (page === "damaged") {
      problems.push(`page of account ${account} is damaged`);
      continue;
    }
    const entry = entries.get(page.n);
    if (entry === undefined)
      problems.push(`account ${account} shows transaction ${page.n}, which the log does not hold`);
    else if (entry.account !== account || entry.balance !== page.balance)
      problems.push(`account ${account} differs from entry ${page.n}`);
  }
  return { transactions: n, problems };
}
