import { describe, expect, it } from "vitest";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { NotFound, Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { encodeManifest } from "#core/journal/manifest.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import { vpgId } from "../../test/kit/batches.ts";
import { BucketRoutes } from "../../test/kit/journal-routes.ts";
import { randomJournal } from "../../test/kit/random-journal.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { silentLog } from "../../test/kit/site.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { type BatchPage, HttpJournal, type JournalRoutes } from "./http-journal.ts";

const sizeBytes = 3 * chunkBytes;

async function world(seed = 1) {
  const made = await randomJournal(
    new SeededRandom(seed),
    new Map([
      [1, sizeBytes],
      [2, sizeBytes],
    ]),
    { batches: 9 },
  );
  const routes = new BucketRoutes(made.objects);
  const clock = new VirtualClock();
  const abort = new AbortController();
  const source = new HttpJournal({
    routes,
    vpgId: idSchema.parse(vpgId),
    upTo: made.upTo,
    clock,
    random: new SystemRandom(),
    log: silentLog,
    signal: abort.signal,
  });
  const view = (volume: number) => new View({ reader: new JournalReader(source), volume, sizeBytes, upTo: made.upTo });
  return { ...made, routes, clock, abort, source, view };
}

async function whole(view: View): Promise<Buffer> {
  const bytes = Buffer.alloc(sizeBytes);
  await view.read(0, bytes);
  return bytes;
}

describe("journal over HTTP", () => {
  it("gives the images, and asks for the summaries once", async () => {
    const { view, images, routes } = await world();
    for (const [volume, image] of images) expect((await whole(view(volume))).equals(image)).toBe(true);
    expect(routes.calls.filter((call) => call.startsWith("batches"))).toEqual(
      [0, 2, 4, 6, 8].map((n) => `batches ${n}`),
    );
  });

  it("asks later pages for the manifest that the first came with, and for none when it came without", async () => {
    const asked = async (answered: readonly (number | undefined)[]): Promise<(number | undefined)[]> => {
      const { upTo, clock } = await world();
      const pages: BatchPage[] = [];
      const routes: JournalRoutes = {
        batches: async (_vpg, _upTo, page) => {
          const manifest = answered[pages.length];
          pages.push(page);
          const more = pages.length < answered.length ? { cursor: "on" } : {};
          return { batches: [], ...more, ...(manifest === undefined ? {} : { manifest }) };
        },
        object: async () =>
          encodeManifest({ formatVersion: 1, vpgId, manifest: 7, createdAt: 0, layers: [], replaced: [] }),
      };
      const random = new SystemRandom();
      const source = new HttpJournal({ routes, vpgId: idSchema.parse(vpgId), upTo, clock, random, log: silentLog });
      expect(await source.batchesTouching(1, 0, upTo)).toEqual([]);
      return pages.map(({ manifest }) => manifest);
    };
    expect(await asked([7, 7, 7])).toEqual([0, 7, 7]);
    expect(await asked([undefined, undefined])).toEqual([0, undefined]);
  });

  it("waits while the site is away", async () => {
    const { view, images, routes, clock } = await world();
    routes.failures.push(...Array.from({ length: 20 }, () => new Transient("away")));
    expect((await clock.until(whole(view(1)))).equals(images.get(1) ?? Buffer.alloc(0))).toBe(true);
    expect(clock.monotonic()).toBeGreaterThan(5000);
  });

  it("tells what waiting does not help, and asks again when it is asked again", async () => {
    const { view, images, routes } = await world();
    routes.failures.push(new NotFound("gone"));
    const one = view(1);
    await expect(whole(one)).rejects.toThrow("gone");
    expect((await whole(one)).equals(images.get(1) ?? Buffer.alloc(0))).toBe(true);
  });

  it("ends its waits with its signal", async () => {
    const { view, routes, clock, abort } = await world();
    routes.failures.push(...Array.from({ length: 5 }, () => new Transient("away")));
    const read = whole(view(1));
    await clock.settle();
    abort.abort(new Error("nobody needs it"));
    await expect(read).rejects.toThrow("nobody needs it");
  });

  it("leaves out what came after the position", async () => {
    const { source, upTo } = await world();
    const all = await source.batchesTouching(1, 0, upTo);
    const [first, second] = all;
    if (first === undefined || second === undefined) throw new Error("too few batches");
    const some = await source.batchesTouching(1, 0, { session: first.session, sequence: first.lastSequence });
    expect(some).toEqual([first]);
    await expect(source.batchesTouching(1, 0, { ...upTo, sequence: upTo.sequence + 1 })).rejects.toThrow("beyond");
  });
});
