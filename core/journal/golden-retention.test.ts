import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { operationId as layerId, patterned, sampleInput, vpgId } from "../../test/kit/batches.ts";
import { PackBuilder, type ReadUnit } from "../retention/pack-builder.ts";
import { decodeObject } from "./decode.ts";
import { decodeLayerPart } from "./decode-layer.ts";
import { type DigestFields, encodeDigest, hexOf, readDigest } from "./digest.ts";
import { encodeBatch } from "./encode.ts";
import { encodeLayerPart, encodeSection } from "./encode-layer.ts";
import { decodeFrame } from "./frame.ts";
import { batchHash } from "./hash.ts";
import { digestKey } from "./keys.ts";
import { type LayerSection, type LayerSource, newLayerExtents } from "./layer.ts";
import { digestBytesMax } from "./limits.ts";

/**
 * What retention stores and every later version must go on reading. Written again only by
 * `FARSHORE_WRITE_GOLDEN=1 vitest run --project unit core/journal/golden-retention.test.ts`, which a change of format has to state.
 */
const pathOf = (name: string): URL => new URL(`./golden/${name}`, import.meta.url);
const golden = (name: string, make: () => Uint8Array): Uint8Array => {
  if (process.env["FARSHORE_WRITE_GOLDEN"] === "1") writeFileSync(pathOf(name), make());
  return Uint8Array.from(readFileSync(pathOf(name)));
};

const packId = "01k3zper4t0000000000000003";
const digestId = "01k3zper4t0000000000000004";
const time = 1_767_225_600_000;

const fields: DigestFields = {
  ...{ thinnedAt: time, packedAt: time + 1, packedThrough: null, thinnedThrough: "3-9120" },
  kept: ["2-17", "3-120", "3-9120"],
  oldestTime: time - 86_400_000,
  passed: [
    { session: 2, checkpoints: 5 },
    { session: 3, checkpoints: 1824 },
  ],
  packs: [
    {
      ...{ packId, session: 2, from: 0, to: 9, lastSequence: 17, bytes: 5000, replacedBytes: 40_000, checkpoints: 4 },
      ...{ lastHash: "ab".repeat(32), sha256: "0f".repeat(32), packedAt: time },
    },
    {
      ...{ packId: digestId, session: 3, from: 64, to: 1024, lastSequence: 9119, bytes: 4_000_000 },
      ...{ replacedBytes: 2 ** 40, checkpoints: 960 },
      ...{ lastHash: "cd".repeat(32), sha256: "1e".repeat(32), packedAt: time + 1 },
    },
  ],
  pressure: 2,
  formatVersion: 1,
  vpgId,
  digestId,
  madeAt: time + 2,
};

describe("golden file digest.bin", () => {
  const { bytes: encoded, ref } = encodeDigest(fields);
  const stored = golden("digest.bin", () => encoded);
  const read = async (bytes: Uint8Array, of = ref) => {
    const objects = new MemoryObjects();
    await objects.put(digestKey(vpgId, digestId), bytes);
    return readDigest(objects, vpgId, of);
  };

  it("says what it said when it was written, and is what the encoder makes of it", async () => {
    const digest = await read(stored);
    expect(digest.fields).toEqual(fields);
    expect(Buffer.from(encoded)).toEqual(Buffer.from(stored));
    expect(digest.lists({ session: 3, sequence: 120 })).toBe(true);
    expect(digest.lists({ session: 3, sequence: 121 })).toBe(false);
    expect(digest.lists({ session: 3, sequence: 9121 })).toBe(true);
    expect(digest.packsOf(2).map((pack) => pack.packId)).toEqual([packId]);
    expect([digest.passedIn(3), digest.passedIn(4)]).toEqual([1824, 0]);
  });

  it("is refused after any change of one byte or any truncation", async () => {
    for (let at = 0; at < stored.length; at += 1) {
      const changed = Uint8Array.from(stored);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await expect(read(changed), `byte ${at}`).rejects.toMatchObject({ name: "Corrupt" });
      await expect(read(stored.subarray(0, at)), `cut at ${at}`).rejects.toMatchObject({ name: "Corrupt" });
    }
  });

  const [first, second] = fields.packs;
  it.each<[string, Partial<DigestFields>]>([
    ["an unknown pressure", { pressure: 65 }],
    ["a position that is none", { kept: ["3"] }],
    ["packs that fall", { packs: second && first ? [second, first] : [] }],
    ["packs that overlap", { packs: first ? [first, { ...first, from: 8, to: 12 }] : [] }],
    ["a pack of nothing", { packs: first ? [{ ...first, to: first.from }] : [] }],
    ["another VPG's", { vpgId: layerId }],
  ])("with its hash made right again is refused for %s", async (_, wrong) => {
    const { bytes, ref: of } = encodeDigest({ ...fields, ...wrong });
    await expect(read(bytes, of)).rejects.toMatchObject({ name: "Corrupt" });
  });

  it("is not encoded beyond its bound", () => {
    const [pack] = fields.packs;
    if (pack === undefined) throw new Error("no pack");
    const packs = (count: number) =>
      Array.from({ length: count }, (_, index) => ({ ...pack, from: index * 8, to: index * 8 + 8 }));
    const each =
      encodeDigest({ ...fields, packs: packs(1001) }).bytes.length -
      encodeDigest({ ...fields, packs: packs(1) }).bytes.length;
    // What limits.ts says of it.
    expect(each / 1000).toBeLessThan(digestBytesMax / 40_000);
    expect(() => encodeDigest({ ...fields, packs: packs(40_000) })).not.toThrow();
    expect(() => encodeDigest({ ...fields, packs: packs(60_000) })).toThrow(RangeError);
  });
});

/** Three batches of a session: of the first one write of two is seen, of the second none, and the third has a zero and the close. */
function packed(): Uint8Array {
  const samples = [
    sampleInput({
      ...{ session: 7, batch: 3, firstSequence: 40, level: "raw" },
      extents: [
        { sequence: 40, offset: 0, bytes: patterned(1024, 3) },
        { sequence: 41, volume: 1, offset: 8192, bytes: patterned(4096, 5) },
      ],
      events: [{ kind: "marker", sequence: 42, time, tag: "" }],
    }),
    sampleInput({
      ...{ session: 7, batch: 4, firstSequence: 43, level: "raw" },
      extents: [{ sequence: 43, offset: 0, bytes: patterned(1024, 7) }],
      events: [{ kind: "marker", sequence: 44, time: time + 5000, tag: "" }],
    }),
    sampleInput({
      ...{ session: 7, batch: 5, firstSequence: 45, level: "raw" },
      extents: [{ sequence: 45, offset: 0, zero: 512 }],
      events: [{ kind: "close", sequence: 46 }],
    }),
  ];
  // Of sequence 41 the middle six sectors, of 45 its only one; nothing of 40 and 43.
  const seen = new Map([
    ["3/1", { from: 1, to: 7 }],
    ["5/0", { from: 0, to: 1 }],
  ]);
  const builder = new PackBuilder(new Set(), (unit, delta) => seen.get(`${unit.batch}/${delta}`));
  for (const sample of samples) {
    const object = encodeBatch(sample);
    const decoded = decodeObject(object);
    if (decoded.kind === "seal") throw new Error("a seal");
    const { header } = decoded;
    const { term, session, batch, lastSequence } = header;
    const unit = {
      term,
      session,
      batch,
      to: batch + 1,
      size: object.length,
      lastSequence,
      liveBytes: 0,
      totalBytes: 0,
    };
    const read: ReadUnit = { unit, header, object, lastHash: hexOf(batchHash(object)), checkpoints: 0 };
    if (builder.add(read) !== undefined) throw new Error("more than one pack");
  }
  const built = builder.flush();
  if (built === undefined) throw new Error("no pack");
  return built.bytes;
}

describe("golden file pack.bin", () => {
  const stored = golden("pack.bin", packed);
  const meaningOf = (bytes: Uint8Array) => {
    const object = decodeObject(bytes);
    if (object.kind === "seal") throw new Error("a seal");
    const { header } = object;
    const frames = header.frames.map((frame, index) =>
      Buffer.from(
        decodeFrame(header, index, bytes.subarray(frame.start, frame.start + frame.storedLength), "received"),
      ),
    );
    return { header, frames };
  };

  it("is read as a batch that stands for three: its place and chain those of the first, its end that of the last", () => {
    const { header, frames } = meaningOf(stored);
    expect(header).toMatchObject({ session: 7, batch: 3, firstSequence: 40, lastSequence: 46 });
    expect(header.events).toEqual([{ kind: "close", sequence: 46 }]);
    const { extents } = header;
    expect(extents.count).toBe(2);
    expect([...extents.sequenceDelta]).toEqual([1, 5]);
    expect([...extents.offset]).toEqual([8192 + 512, 0]);
    expect([...extents.length]).toEqual([3072, 512]);
    expect(Buffer.concat(frames)).toEqual(Buffer.from(patterned(4096, 5).subarray(512, 7 * 512)));
  });

  it("is what the builder makes, but for how its frames are compressed, and the encoder makes again", () => {
    const now = meaningOf(packed());
    const then = meaningOf(stored);
    expect(now.frames).toEqual(then.frames);
    expect(now.header.extents).toEqual(then.header.extents);
    const frames = then.header.frames.map((frame) => ({
      ...frame,
      bytes: stored.subarray(frame.start, frame.start + frame.storedLength),
    }));
    expect(Buffer.from(encodeBatch({ ...then.header, frames }))).toEqual(Buffer.from(stored));
  });
});

const source = (batch: number, firstSequence: number, over: Partial<LayerSource> = {}): LayerSource => ({
  ...{ term: 1, session: 4, batch, firstSequence, lastSequence: firstSequence + 99, size: 9000, headerLength: 700 },
  ...over,
});

/** A section that names a batch, a pack, and a batch again. */
function packedSection(): LayerSection {
  const sources = [source(0, 1), source(1, 101, { pack: packId, lastSequence: 100_000 }), source(900, 100_001)];
  const extents = newLayerExtents(3);
  for (const index of sources.keys()) {
    extents.sector[index] = 8 * index;
    extents.sectors[index] = 8;
    extents.source[index] = index;
    extents.sequenceDelta[index] = 2 + index;
    extents.kind[index] = 1;
    extents.frame[index] = index;
    extents.frameOffset[index] = 4096;
  }
  return { volume: 1, firstChunk: 0, lastChunk: 0, extents, sources };
}

describe("golden file layer-packs.bin", () => {
  const place = { vpgId, layerId, part: 0 };
  const encode = () => encodeLayerPart(place, [encodeSection(packedSection(), true)]);
  const stored = golden("layer-packs.bin", encode);

  it("has sources of 56 bytes, of which one is a pack, and is written the same", () => {
    const { header, sections } = decodeLayerPart(stored);
    expect(header).toMatchObject({ ...place, minor: 1 });
    expect(sections).toEqual([packedSection()]);
    expect(header.sections[0]).toMatchObject({ packed: true, length: 3 * 24 + 3 * 56 });
    expect(Buffer.from(encode())).toEqual(Buffer.from(stored));
  });

  it("is refused after any change of one bit or any truncation", () => {
    for (let at = 0; at < stored.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Uint8Array.from(stored);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        expect(() => decodeLayerPart(changed), `byte ${at} bit ${bit}`).toThrow();
      }
      expect(() => decodeLayerPart(stored.subarray(0, at)), `cut at ${at}`).toThrow();
    }
  });

  it("is not made by who has no room for packs", () => {
    expect(() => encodeSection(packedSection(), false)).toThrow(RangeError);
  });
});
