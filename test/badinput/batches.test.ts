import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { openSessionReplySchema } from "#core/api/gateway-api.ts";
import { newId } from "#core/ids.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { writeU64 } from "#core/journal/fixed-header.ts";
import { at, fixedHeaderBytes, frameAt, hashBytes, recordAt, recordBytes } from "#core/journal/layout.ts";
import { objectBytesMax } from "#core/journal/limits.ts";
import { ulidToBytes } from "#core/journal/ulid-bytes.ts";
import { patterned, sampleInput, tampered } from "../kit/batches.ts";
import type { HttpAnswer } from "../kit/http-call.ts";
import { keptFiles } from "../kit/kept-objects.ts";
import { holds } from "../kit/property.ts";
import { SiteStage, servedVm } from "../kit/served-site.ts";

const sizeBytes = 64 * 1024;
const volume = 1;
const unknownId = "01k3vpg0000000000000000009";
const golden = ["one-write", "mixed", "final", "close", "hold", "barrier", "seal"].map((name) => ({
  name,
  bytes: Uint8Array.from(readFileSync(new URL(`../../core/journal/golden/${name}.bin`, import.meta.url))),
}));

let site: SiteStage;
/** The session that a source gateway has opened by `beforeAll`; nothing is in it yet. */
let session = 0;

beforeAll(async () => {
  site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes }], checkpointIntervalMs: 1000 });
  await openSession();
});
afterAll(async () => {
  await site.close();
  site.remove();
});

async function openSession(): Promise<void> {
  const body = {
    vpgId: site.vpgId,
    nonce: newId(new SystemClock(), new SystemRandom()),
    lastSession: session,
    acknowledgedBatch: -1,
    cleanlyClosed: false,
    acceptRegression: false,
    volumes: [{ vmName: servedVm, name: "data", sizeBytes, sectorBytes: 512 }],
  };
  const answer = await site.call("/gateway/v1/sessions", { method: "POST", token: site.tokens.source, body });
  session = openSessionReplySchema.parse(answer.json()).session;
}

const pathOf = (over: Partial<Record<"vpg" | "term" | "session" | "batch", string>> = {}): string =>
  `/gateway/v1/batches/${over.vpg ?? site.vpgId}/${over.term ?? 1}/${over.session ?? session}/${over.batch ?? 0}`;

const put = (body: Uint8Array, path = pathOf(), token = site.tokens.source): Promise<HttpAnswer> =>
  site.call(path, { method: "PUT", token, body });

/** What a batch of this session's place would be, but for what `change` does to it; all checksums are right. */
function placed(object: Uint8Array, change: (view: DataView, bytes: Uint8Array) => void = () => undefined): Uint8Array {
  return tampered(object, (view, bytes) => {
    bytes.set(ulidToBytes(site.vpgId), at.vpgId);
    view.setUint32(at.term, 1, true);
    view.setUint32(at.session, session, true);
    change(view, bytes);
  });
}

/** One write of 512 bytes at 4096 into the volume: batch 0 as it may be. */
const oneWrite = (change: (view: DataView, bytes: Uint8Array) => void = () => undefined): Uint8Array =>
  placed(golden[0]?.bytes ?? new Uint8Array(0), (view, bytes) => {
    view.setUint16(fixedHeaderBytes + recordAt.volume, volume, true);
    change(view, bytes);
  });

const stored = () => keptFiles(join(site.dataDir, "objects"));

/** Refused by the name, as the caller's fault, and nothing is stored. */
async function refused(name: string, answered: () => Promise<HttpAnswer>, field?: string): Promise<void> {
  const before = stored();
  const { status, refused, text } = await answered();
  expect({ refused, text }).toEqual({
    refused: name,
    text: field === undefined ? text : expect.stringContaining(`"field":"${field}"`),
  });
  expect(Math.floor(status / 100)).toBe(4);
  expect(stored()).toEqual(before);
}

const record = (place: number) => fixedHeaderBytes + place;

describe("a batch that is not what it should be is refused by name and not stored", () => {
  it.each<[string, string, (view: DataView, bytes: Uint8Array) => void]>([
    ["records.offset", "begins at the volume's end", (view) => writeU64(view, record(recordAt.offset), sizeBytes)],
    ["records.offset", "a terabyte beyond", (view) => writeU64(view, record(recordAt.offset), 2 ** 40)],
    ["records.offset", "at 2^53", (view) => view.setUint32(record(recordAt.offset) + 4, 0x20_0000, true)],
    ["records.offset", "between sectors", (view) => writeU64(view, record(recordAt.offset), 100)],
    ["records.length", "more than its frame", (view) => view.setUint32(record(recordAt.length), 1024, true)],
    ["records.length", "4 GiB", (view) => view.setUint32(record(recordAt.length), 0xffff_fe00, true)],
    ["records.length", "nothing", (view) => view.setUint32(record(recordAt.length), 0, true)],
    ["records.volume", "a volume of nobody", (view) => view.setUint16(record(recordAt.volume), 2, true)],
    ["records.kind", "no such kind", (view) => view.setUint8(record(recordAt.kind), 77)],
    ["recordCount", "four thousand million records", (view) => view.setUint32(at.recordCount, 0xffff_ffff, true)],
    ["frameCount", "as many frames", (view) => view.setUint32(at.frameCount, 0xffff_ffff, true)],
    ["rawLength", "4 GiB of payload", (view) => view.setUint32(at.rawLength, 0xffff_ffff, true)],
    ["storedLength", "stored bytes that are not there", (view) => view.setUint32(at.storedLength, 0x10_0000, true)],
    [
      "rawLength",
      "a frame of 4 GiB",
      (view) => view.setUint32(record(recordBytes) + frameAt.rawLength, 0xffff_ffff, true),
    ],
    ["vpgId", "another VPG", (_, bytes) => bytes.set(ulidToBytes(unknownId), at.vpgId)],
    ["term", "another term", (view) => view.setUint32(at.term, 2, true)],
    ["session", "another session", (view) => view.setUint32(at.session, 99, true)],
  ])("%s: %s", async (field, _, change) => {
    await refused("MalformedBatch", () => put(oneWrite(change)), field);
  });

  it("a format of the future, a cipher, a critical flag", async () => {
    await refused("UnsupportedFormat", () => put(oneWrite((view) => view.setUint16(at.major, 2, true))), "major");
    await refused("UnsupportedFormat", () => put(oneWrite((view) => view.setUint8(at.cipherSuite, 1))), "cipherSuite");
    await refused("UnsupportedFormat", () => put(oneWrite((view) => view.setUint32(at.criticalFlags, 2, true))));
  });

  it("a hold or a barrier where one gateway has all the disks, and the flag of one without it", async () => {
    await refused(
      "MalformedBatch",
      () => put(oneWrite((view) => view.setUint32(at.criticalFlags, 1, true))),
      "criticalFlags",
    );
    const vector = [session, session + 1].map((each) => ({ session: each, sequence: 1 }));
    for (const event of [
      { kind: "hold", sequence: 2, time: 1 },
      { kind: "barrier", sequence: 2, time: 1, tag: "", vector },
    ] as const) {
      const extents = [{ volume, sequence: 1, offset: 0, bytes: patterned(512, 1) }];
      const object = encodeBatch(sampleInput({ session, extents, events: [event] }));
      await refused("MalformedBatch", () => put(placed(object)), "records.kind");
    }
  });

  it("decompression bombs, in each way a frame can lie", async () => {
    const raw = patterned(4096, 1);
    const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20));
    const frames = [bomb.subarray(0, 4000), Buffer.concat([zstdCompressSync(raw), bomb.subarray(0, 2000)])];
    for (const bytes of frames) {
      const input = sampleInput({ extents: [{ volume, sequence: 1, offset: 0, bytes: raw }] });
      const frame = { codec: "zstd" as const, bytes, crc32: crc32(bytes), rawLength: raw.length };
      await refused("MalformedBatch", () => put(placed(encodeBatch({ ...input, frames: [frame] }))), "frames.zstd");
    }
  });

  it("a seal, which only a site may put", async () => {
    const seal = golden.find(({ name }) => name === "seal")?.bytes ?? new Uint8Array(0);
    await refused("MalformedBatch", () => put(placed(seal)), "kind");
  });

  it("nothing, one byte, every kind of cut, a byte too many", async () => {
    const whole = oneWrite();
    for (const length of [0, 1, 19, 20, fixedHeaderBytes, whole.length - hashBytes, whole.length - 1]) {
      await refused("MalformedBatch", () => put(whole.subarray(0, length)));
    }
    await refused("MalformedBatch", () => put(Buffer.concat([whole, Buffer.alloc(1)])), "objectLength");
  });

  it("a body beyond the largest batch, announced or not", async () => {
    const huge = new Uint8Array(objectBytesMax + 1);
    await refused("InvalidInput", () => put(huge), "body");
    await refused(
      "InvalidInput",
      () =>
        site.call(pathOf(), {
          method: "PUT",
          token: site.tokens.source,
          headers: { "transfer-encoding": "chunked" },
          body: huge,
        }),
      "body",
    );
  });
});

describe("a batch in a place that isn't the caller's is refused by name and not stored", () => {
  it("wrong VPG, term, session, number", async () => {
    await refused("Fenced", () => put(oneWrite(), pathOf({ vpg: unknownId })));
    await refused("Fenced", () => put(oneWrite(), pathOf({ term: "2" })));
    await refused("Fenced", () => put(oneWrite(), pathOf({ session: "999" })));
    await refused("MalformedBatch", () => put(oneWrite(), pathOf({ batch: "1" })), "batch");
  });

  it.each([
    { vpg: "shop" },
    { vpg: "..%2f..%2ftokens" },
    { vpg: "%zz" },
    { term: "one" },
    { term: "-1" },
    { term: "4294967297" },
    { session: "1e3" },
    { session: "99999999999999999999" },
    { session: "4294967297" },
    { batch: "0x0" },
    { batch: "%00" },
    { batch: "9007199254740991" },
  ])("nonsense in the path: %o", async (over) => {
    const before = stored();
    const answer = await put(oneWrite(), pathOf(over));
    expect([400, 403]).toContain(answer.status);
    expect(["InvalidInput", "Fenced", "MalformedBatch"]).toContain(answer.refused);
    expect(stored()).toEqual(before);
  });

  it("another gateway's token, a person's, none, nonsense", async () => {
    for (const token of [site.tokens.recovery, site.tokens.stranger, site.tokens.operator, site.tokens.viewer]) {
      await refused("Forbidden", () => put(oneWrite(), pathOf(), token));
    }
    for (const authorization of [
      "",
      "Bearer",
      "Bearer x",
      `Basic ${site.tokens.source}`,
      `Bearer ${"x".repeat(4000)}`,
    ]) {
      const call = { method: "PUT", headers: { authorization }, body: oneWrite() };
      await refused("Unauthenticated", () => site.call(pathOf(), call));
    }
  });

  it.each(["soon", "-5", "1e9", "99999999999999999999"])("an age of %s", async (age) => {
    const call = { method: "PUT", token: site.tokens.source, headers: { "x-farshore-age-ms": age }, body: oneWrite() };
    await refused("InvalidInput", () => site.call(pathOf(), call), "x-farshore-age-ms");
  });
});

describe("batches fuzzed from the golden files", () => {
  const which = fc.constantFrom(...golden);
  const edits = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });

  it("changed without new checksums: always refused", async () => {
    const before = stored();
    await holds(
      fc.asyncProperty(which, edits, fc.option(fc.nat(), { nil: undefined }), async ({ bytes }, changes, cut) => {
        const base = placed(bytes);
        const changed = Uint8Array.from(base);
        for (const [place, value] of changes) changed[place % changed.length] = value;
        const sent = cut === undefined ? changed : changed.subarray(0, cut % changed.length);
        const same = Buffer.compare(sent, base) === 0;
        const answer = await put(sent);
        expect([400, 409]).toContain(answer.status);
        expect(same ? "MalformedBatch" : answer.refused).toMatch(/^(MalformedBatch|UnsupportedFormat)$/);
      }),
      { numRuns: 150 },
    );
    expect(stored()).toEqual(before);
  });

  it("changed with all checksums made right: refused by name, or stored exactly as sent", async () => {
    await holds(
      fc.asyncProperty(edits, async (changes) => {
        const sent = oneWrite((_, bytes) => {
          // The header's length is where the checksum goes; a change there would only make the checksum wrong.
          const open = (place: number) => place < at.headerLength || place >= at.headerLength + 4;
          for (const [place, value] of changes) {
            const where = place % (bytes.length - hashBytes);
            if (open(where)) bytes[where] = value;
          }
        });
        const before = stored();
        const answer = await put(sent);
        if (answer.status === 200) {
          const added = [...stored()].filter(([path]) => !before.has(path));
          expect(added).toHaveLength(1);
          const path = join(site.dataDir, "objects", added[0]?.[0] ?? "");
          expect(Buffer.compare(readFileSync(path), sent)).toBe(0);
          await openSession();
          return;
        }
        expect(answer.refused).toMatch(/^(MalformedBatch|UnsupportedFormat)$/);
        expect(stored()).toEqual(before);
      }),
      { numRuns: 150 },
    );
  });

  it("and the site lives: the batch as it should be is taken, and taken again", async () => {
    const whole = oneWrite();
    expect((await put(whole)).json()).toMatchObject({ batch: 0, duplicate: false });
    const before = stored();
    expect((await put(whole)).json()).toMatchObject({ batch: 0, duplicate: true });
    expect(stored()).toEqual(before);
    expect((await site.vpg()).name).toBe("shop");
    // Nothing of all this was a fault of the site's own; two batches for one place are worth a person's look.
    expect(site.log.entries.filter(({ level }) => level === "error")).toEqual([]);
    await refused("Diverged", () => put(oneWrite((view) => writeU64(view, at.sourceTimeLast, 1))));
  });
});
