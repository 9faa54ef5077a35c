import { readFileSync } from "node:fs";

/**
 * Judges a checkpoint's images by the client's own log alone. Its lines, in the order the client saw them:
 * {"submit":id,"at":ms,"volume":v,"offset":o,"length":l,"zero":bool} and {"ack":id,"at":ms}; a write fills its sectors with its id.
 */
type Write = { id: number; at: number; submitted: number; ackedAt: number; acked: number; zero: boolean };
const initial: Write = { id: 0, at: 0, submitted: -1, ackedAt: 0, acked: -1, zero: true };
export const fill = (id: number): Buffer => Buffer.alloc(512, Buffer.from(new Float64Array([id]).buffer));

export function judge(logFile: string, images: ReadonlyMap<number, Buffer>, barrierMs: number): string[] {
  const writes = new Map<number, Write>();
  const covering = new Map<string, Write[]>();
  for (const [line, text] of readFileSync(logFile, "utf8").trimEnd().split("\n").entries()) {
    const event = JSON.parse(text);
    if (event.ack !== undefined) Object.assign(writes.get(event.ack) ?? {}, { ackedAt: event.at, acked: line });
    if (event.ack !== undefined) continue;
    const write = { id: event.submit, at: event.at, submitted: line, ackedAt: 1 / 0, acked: 1 / 0, zero: event.zero };
    writes.set(write.id, write);
    for (let at = event.offset; at < event.offset + event.length; at += 512) {
      const key = `${event.volume}/${at}`;
      covering.set(key, [...(covering.get(key) ?? []), write]);
    }
  }
  const seen: { key: string; over: Write[]; shown: Write[] }[] = [];
  for (const [volume, image] of images) {
    for (let at = 0; at < image.length; at += 512) {
      const over = covering.get(`${volume}/${at}`) ?? [];
      const allowed = [initial, ...over].filter((write) => write.at <= barrierMs); // none submitted after the barrier
      const shown = allowed.filter((write) => image.subarray(at, at + 512).equals(fill(write.zero ? 0 : write.id)));
      seen.push({ key: `${volume}/${at}`, over, shown });
    }
  }
  const newest = Math.max(...seen.map(({ shown }) => (shown.length === 1 ? (shown[0]?.submitted ?? -1) : -1)));
  const must = (write: Write) => write.ackedAt < barrierMs || write.acked < newest; // acknowledged before a shown one was submitted
  const explains = (x: Write, over: Write[]) => over.every((v) => !must(v) || x.acked >= v.submitted);
  const wrong = seen.filter(({ over, shown }) => !shown.some((x) => explains(x, over)));
  return wrong.map(({ key, over, shown }) => `${key} shows [${shown.map((x) => x.id)}] of [${over.map((x) => x.id)}]`);
}
