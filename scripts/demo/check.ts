/**
 * A process of its own: reads both volumes of a recovered checkpoint through their exports and compares them, byte for byte, with a
 * replay of the application's log of writes; then runs the application's own check. Prints one line of JSON.
 *
 *   node scripts/demo/check.ts WRITES_LOGS DATA_URI LOG_URI VOLUME_BYTES
 *
 * WRITES_LOGS: the logs in order, with commas between them; of `PATH:M` the first M writes count, as an earlier run found them.
 */
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { checkLedger, dataVolume, logVolume } from "./ledger.ts";
import { type LoggedWrite, readWriteLog } from "./write-log.ts";

const readBytes = 1 << 20;

async function readAll(uri: string, size: number): Promise<Buffer> {
  const image = Buffer.alloc(size);
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  for (let at = 0; at < size; at += readBytes) {
    const length = Math.min(readBytes, size - at);
    await client.readInto(at, image.subarray(at, at + length));
  }
  await client.disconnect();
  return image;
}

/**
 * The application has one write in flight at a time, so an exact image is the replay of the first m writes for some m. Replays
 * write by write and remembers after which one both images were equal: a write changes only its own range, so it is enough to
 * keep count of the bytes that differ.
 */
function equalAfter(writesLogs: string, images: readonly Buffer[]): readonly number[] {
  const replayed = images.map((image) => Buffer.alloc(image.length));
  let differing = images.reduce((sum, image) => sum + countDiffering(image, Buffer.alloc(image.length)), 0);
  const equal: number[] = differing === 0 ? [0] : [];
  let before = 0;
  for (const [path = "", first = "Infinity"] of writesLogs.split(",").map((each) => each.split(":"))) {
    const counted = Math.min(Number(first), readWriteLog(path, () => {}).submitted);
    readWriteLog(path, (write, number) => {
      if (number <= counted) replayOne(write, before + number);
    });
    before += counted;
  }
  return equal;

  function replayOne(write: LoggedWrite, number: number): void {
    const image = images[write.volume];
    const replay = replayed[write.volume];
    if (image === undefined || replay === undefined) throw new RangeError(`write ${number} is of no volume`);
    const end = write.offset + write.bytes.length;
    differing -= countDiffering(image.subarray(write.offset, end), replay.subarray(write.offset, end));
    replay.set(write.bytes, write.offset);
    differing += countDiffering(image.subarray(write.offset, end), replay.subarray(write.offset, end));
    if (differing === 0) equal.push(number);
  }
}

function countDiffering(a: Buffer, b: Buffer): number {
  if (a.equals(b)) return 0;
  let count = 0;
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) count += 1;
  return count;
}

const [writesLogs = "", dataUri = "", logUri = "", size = ""] = process.argv.slice(2);
const images: Buffer[] = [];
images[dataVolume] = await readAll(dataUri, Number(size));
images[logVolume] = await readAll(logUri, Number(size));
const ledger = checkLedger(images[dataVolume], images[logVolume]);
const equal = equalAfter(writesLogs, images);
process.stdout.write(`${JSON.stringify({ equal, ...ledger })}\n`);
