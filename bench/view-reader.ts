/**
 * A process of its own, whose memory is that of nothing but reading: opens views of a checkpoint again and again, each with caches
 * of its own, and reads 4 KiB of each, at one of the places in the folder's `places.json`. Arguments: FOLDER VPG SESSION VOLUME BYTES SEQUENCE TIMES. Prints JSON.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { idSchema } from "#core/ids.ts";
import { listBatches, readJournalObject } from "#core/protection/journal-reads.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { HttpJournal } from "../gateway/export/http-journal.ts";
import { openSite } from "./history.ts";

const [folder = "", vpgText = "", ...numbers] = process.argv.slice(2);
const [session = 0, volume = 0, sizeBytes = 0, sequence = 0, times = 0] = numbers.map(Number);
const { site, close } = await openSite(folder);
const vpg = await getVpg(site, idSchema.parse(vpgText));
const upTo = { session, sequence };
const places = z.array(z.int()).parse(JSON.parse(readFileSync(join(folder, "places.json"), "utf8")));
const target = Buffer.alloc(4096);
const openedMs: number[] = [];
const nextMs: number[] = [];
let requests = 0;
const cpuBefore = process.cpuUsage();
for (let turn = 0; turn < times; turn += 1) {
  const offset = places[Math.floor(Math.random() * places.length)] ?? 0;
  const started = performance.now();
  // What a recovery gateway does for a volume, with calls into the site in place of HTTP.
  const source = new HttpJournal({
    routes: {
      batches: (_, to, page) => {
        requests += 1;
        return listBatches(site, vpg, to, page);
      },
      object: (_, key, range) => {
        requests += 1;
        return readJournalObject(site, vpg, key, range);
      },
    },
    vpgId: vpg.vpgId,
    upTo,
    clock: site.clock,
    random: site.random,
    log: site.log,
  });
  const view = new View({ reader: new JournalReader(source), volume, sizeBytes, upTo });
  await view.read(offset, target);
  const opened = performance.now();
  await view.read(offset, target);
  openedMs.push(opened - started);
  nextMs.push(performance.now() - opened);
}
const { user, system } = process.cpuUsage(cpuBefore);
close();
console.log(
  JSON.stringify({
    ...{ openedMs, nextMs },
    requests: requests / times,
    cpuMs: (user + system) / 1000 / times,
    // In KiB.
    memoryMiB: process.resourceUsage().maxRSS / 1024,
  }),
);
