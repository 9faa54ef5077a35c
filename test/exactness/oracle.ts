import { readFileSync } from "node:fs";

/**
 * Judges a checkpoint's images by the client's own log alone. Its lines, in the order the client saw them:
 * {"submit":id,"at":ms,"volume":v,"offset":o,"length":l,"zero":bool}, then {"ack":id,"at":ms}, or {"fail":id,"at":ms}: over, each sector
 * written or not. A write fills its sectors with zeros or its id; a sector that was read counts as a write of the id it "shows".
 */
type Write = { id: number; at: number; submitted: number; ackedAt: number; acked: number; over: number; shows: number };
const initial: Write = { id: 0, at: 0, submitted: -1, ackedAt: 0, acked: -1, over: -1, shows: 0 };
export const fill = (id: number): Buffer => Buffer.alloc(512, Buffer.from(new Float64Array([id]).buffer));

export function judge(logFile: string, images: ReadonlyMap<number, Buffer>, barrierMs: number): string[] {
  const writes = new Map<number, Write>();
  const covering = new Map<string, Write[]>();
  for (const [line, text] of readFileSync(logFile, "utf8").trimEnd().split("\n").entries()) {
    const event = JSON.parse(text);
    Object.assign(writes.get(event.ack ?? event.fail) ?? {}, { over: line });
    if (event.ack !== undefined) Object.assign(writes.get(event.ack) ?? {}, { ackedAt: event.at, acked: line });
    const [id, shows] = [event.submit, event.zero ? 0 : (event.shows ?? event.submit)];
    const write = { id, at: event.at, submitted: line, ackedAt: 1 / 0, acked: 1 / 0, over: 1 / 0, shows };
    if (id !== undefined) writes.set(id, write);
    for (let at = event.offset; at < event.offset + event.length; at += 512) {
      const key = `${event.volume}/${at}`;
      if (covering.get(key)?.push(write) === undefined) covering.set(key, [write]);
    }
  }
  const seen = [...images].flatMap(([volume, image]) =>
    Array.from({ length: image.length / 512 }, (_, sector) => {
      const bytes = image.subarray(sector * 512, sector * 512 + 512);
      const all = [initial, ...(covering.get(`${volume}/${sector * 512}`) ?? [])];
      const id = bytes.equals(fill(bytes.readDoubleLE())) ? bytes.readDoubleLE() : undefined;
      return { key: `${volume}/${sector * 512}`, all, shown: all.filter((x) => x.shows === id && x.at <= barrierMs) };
    }),
  );
  const newest = Math.max(...seen.map(({ shown }) => (shown.length === 1 ? (shown[0]?.submitted ?? -1) : -1)));
  const must = (write: Write) => write.ackedAt < barrierMs || write.acked < newest; // acknowledged before a shown one was submitted
  const explains = (x: Write, all: Write[]) => all.every((v) => !must(v) || x.over >= v.submitted);
  const wrong = seen.filter(({ all, shown }) => !shown.some((x) => explains(x, all)));
  return wrong.map(({ key, all, shown }) => `${key} shows [${shown.map((x) => x.id)}] of [${all.map((x) => x.id)}]`);
}
