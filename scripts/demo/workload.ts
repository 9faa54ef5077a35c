/**
 * A process of its own: the ledger at work on the protected disks, until killed. On SIGUSR2 it turns into the accident: it writes
 * garbage over the accounts, still logging every write. On disks that it finds in use it goes on where its log ends, and first writes
 * every account's page anew from the log.
 *
 *   node scripts/demo/workload.ts WRITES_LOG DATA_URI LOG_URI TRANSACTIONS_PER_SECOND TRANSACTIONS_MAX
 */
import { randomBytes } from "node:crypto";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import {
  accounts,
  blockBytes,
  dataVolume,
  entryOffset,
  logVolume,
  makeBlock,
  pageOffset,
  readBlock,
} from "./ledger.ts";
import { WriteLog } from "./write-log.ts";

const [writesLog = "", dataUri = "", logUri = "", rate = "", most = ""] = process.argv.slice(2);
const connect = (uri: string) => {
  const { address, exportName } = parseNbdUri(uri);
  return NbdClient.connect(address, exportName);
};
const clients = [await connect(dataUri), await connect(logUri)] as const;
const log = new WriteLog(writesLog);

async function write(volume: 0 | 1, offset: number, bytes: Buffer): Promise<void> {
  const number = log.submit(volume, offset, bytes);
  await clients[volume].write(offset, bytes);
  log.acknowledge(number);
}

let corrupting = false;
process.on("SIGUSR2", () => {
  corrupting = true;
});

const balances = new Array<number>(accounts).fill(0);
const newest = new Map<number, { readonly n: number; readonly previous: Uint8Array }>();
let previous: Uint8Array = new Uint8Array(32);
let entries = 0;
for (;;) {
  const found = readBlock(await clients[logVolume].read(entryOffset(entries + 1), blockBytes));
  if (found === undefined || found === "damaged" || entries + 1 > Number(most)) break;
  entries += 1;
  balances[found.account] = found.balance;
  newest.set(found.account, { n: entries, previous });
  previous = found.sum;
}
for (const [account, { n, previous: before }] of newest) {
  await write(dataVolume, pageOffset(account), makeBlock("page", n, account, balances[account] ?? 0, before));
}

const beganAt = performance.now();
for (let n = entries + 1; ; n += 1) {
  const account = (n * 7919) % accounts;
  if (corrupting) {
    await write(dataVolume, pageOffset(account), randomBytes(blockBytes));
  } else if (n > Number(most)) {
    // The log volume is full: an application at rest, until the accident or the end.
    await new Promise((resolve) => setTimeout(resolve, 50));
  } else {
    const balance = (balances[account] ?? 0) + n;
    balances[account] = balance;
    const entry = makeBlock("entry", n, account, balance, previous);
    await write(logVolume, entryOffset(n), entry);
    await write(dataVolume, pageOffset(account), makeBlock("page", n, account, balance, previous));
    const made = readBlock(entry);
    if (made === undefined || made === "damaged") throw new Error(`entry ${n} was made wrong`);
    previous = made.sum;
    if (n % 32 === 0) await Promise.all(clients.map((client) => client.flush()));
  }
  const ahead = ((n - entries) / Number(rate)) * 1000 - (performance.now() - beganAt);
  if (ahead > 1) await new Promise((resolve) => setTimeout(resolve, ahead));
}
