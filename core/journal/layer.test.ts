import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { operationId as layerId, vpgId } from "../../test/kit/batches.ts";
import { decodeLayerHeader, decodeLayerPart, isLayerPart } from "./decode-layer.ts";
import { encodeLayerPart, encodeSection } from "./encode-layer.ts";
import { viewOf, writeHeaderCrc } from "./fixed-header.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import { type LayerSection, type LayerSource, newLayerExtents } from "./layer.ts";
import { layerAt, layerFixedBytes, sectionAt, sectionEntryBytes } from "./layer-layout.ts";
import { hashBytes } from "./layout.ts";
import { sectionExtentsMax } from "./limits.ts";

/**
 * `golden/layer.bin` must be read for ever. It is written again only by
 * `FARSHORE_WRITE_GOLDEN=1 vitest run --project unit core/journal/layer.test.ts`, which a change of format has to state.
 */
const path = new URL("./golden/layer.bin", import.meta.url);

interface Sample {
  readonly sector: number;
  readonly sectors: number;
  readonly source: number;
  readonly delta: number;
  /** Frame and place in it of a write; a zero has none. */
  readonly write?: readonly [number, number];
}

const source = (
  session: number,
  batch: number,
  firstSequence: number,
  over: Partial<LayerSource> = {},
): LayerSource => ({
  ...{
    term: 1,
    session,
    batch,
    firstSequence,
    lastSequence: firstSequence + 9,
    size: 5000,
    headerLength: 700,
    ...over,
  },
});

function section(
  place: Pick<LayerSection, "volume" | "firstChunk" | "lastChunk">,
  sources: readonly LayerSource[],
  samples: readonly Sample[],
): LayerSection {
  const extents = newLayerExtents(samples.length);
  for (const [index, { sector, sectors, source: of, delta, write }] of samples.entries()) {
    extents.sector[index] = sector;
    extents.sectors[index] = sectors;
    extents.source[index] = of;
    extents.sequenceDelta[index] = delta;
    extents.kind[index] = write === undefined ? 2 : 1;
    extents.frame[index] = write?.[0] ?? 0;
    extents.frameOffset[index] = write?.[1] ?? 0;
  }
  return { ...place, extents, sources };
}

const first = section(
  { volume: 1, firstChunk: 0, lastChunk: 2048 },
  [source(1, 0, 1), source(1, 3, 40), source(2, 0, 1, { term: 2 })],
  [
    { sector: 8, sectors: 8, source: 0, delta: 2, write: [0, 4096] },
    { sector: 8, sectors: 2 ** 21, source: 1, delta: 0 },
    { sector: 1030, sectors: 1, source: 1, delta: 9, write: [63, 0] },
    { sector: 0, sectors: 512, source: 2, delta: 4, write: [1, 0] },
  ],
);
const far = section(
  { volume: 2, firstChunk: 2 ** 31, lastChunk: 2 ** 31 },
  [source(1, 3, 40)],
  [{ sector: 2 ** 41 + 1023, sectors: 1, source: 0, delta: 1, write: [0, 512] }],
);
const place = { vpgId, layerId, part: 3 };
const encode = (...sections: readonly LayerSection[]) =>
  encodeLayerPart(
    place,
    sections.map((each) => encodeSection(each)),
  );

if (process.env["FARSHORE_WRITE_GOLDEN"] === "1") writeFileSync(path, encode(first, far));
const golden = Uint8Array.from(readFileSync(path));

/** The field that is refused, or undefined. */
function refusal(bytes: Uint8Array): unknown {
  try {
    decodeLayerPart(bytes);
  } catch (error) {
    if (error instanceof FarshoreError) return error.details["field"];
    throw error;
  }
  return undefined;
}

/** Changed by hand, with the header's CRC32 and the SHA-256 made right again. */
function tampered(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const changed = Uint8Array.from(bytes);
  const view = viewOf(changed);
  change(view);
  const headerLength = layerFixedBytes + view.getUint32(layerAt.sectionCount, true) * sectionEntryBytes + 4;
  if (headerLength <= changed.length) writeHeaderCrc(changed, headerLength);
  changed.set(sha256(changed.subarray(0, changed.length - hashBytes)), changed.length - hashBytes);
  return changed;
}

describe("a part of a layer", () => {
  it("says what it said when it was written, and is written the same", () => {
    const { header, sections } = decodeLayerPart(golden);
    expect(header).toMatchObject({ ...place, minor: 0, objectLength: golden.length });
    expect(sections).toEqual([first, far]);
    expect(encode(first, far)).toEqual(Buffer.from(golden));
    expect(decodeLayerHeader(golden.subarray(0, header.headerLength), { size: golden.length })).toEqual(header);
    expect([isLayerPart(golden), isLayerPart(golden.subarray(0, 4))]).toEqual([true, false]);
  });

  it("is refused after any change of one bit or any truncation", () => {
    for (let at = 0; at < golden.length; at += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Uint8Array.from(golden);
        changed[at] = (changed[at] ?? 0) ^ (1 << bit);
        expect(refusal(changed), `byte ${at} bit ${bit}`).toBeDefined();
      }
      expect(refusal(golden.subarray(0, at)), `cut at ${at}`).toBeDefined();
    }
    expect(refusal(Buffer.concat([golden, Buffer.alloc(1)]))).toBe("objectLength");
  });

  it("with its checks made right again, a changed byte of the header is refused by field or means what encodes the same", () => {
    const end = decodeLayerHeader(golden).headerLength - 4;
    for (let at = 0; at < end; at += 1) {
      for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        const changed = tampered(golden, (view) => view.setUint8(at, value));
        if (refusal(changed) !== undefined) continue;
        const ignorable = at >= layerAt.ignorableFlags && at < layerAt.ignorableFlags + 4;
        if (ignorable || at === layerAt.minor || at === layerAt.minor + 1) continue;
        const { header, sections } = decodeLayerPart(changed);
        const again = encodeLayerPart(
          header,
          sections.map((each) => encodeSection(each)),
        );
        expect(bytesEqual(again, changed), `byte ${at} = ${value}`).toBe(true);
      }
    }
  });

  it.each<[string, string, (view: DataView) => void]>([
    ["another version", "major", (view) => view.setUint16(layerAt.major, 2, true)],
    ["a cipher suite", "cipherSuite", (view) => view.setUint8(layerAt.cipherSuite, 1)],
    ["a critical flag", "criticalFlags", (view) => view.setUint32(layerAt.criticalFlags, 2, true)],
    ["a key id", "keyId", (view) => view.setUint8(layerAt.keyId + 3, 1)],
    ["more sections than any part", "sectionCount", (view) => view.setUint32(layerAt.sectionCount, 2 ** 31, true)],
    ["other extents than its sections", "extentCount", (view) => view.setUint32(layerAt.extentCount, 9, true)],
    ["a section without extents", "sections.extentCount", (view) => entry(view, 0, sectionAt.extentCount, 0)],
    ["more extents than a section has", "sections.extentCount", (view) => entry(view, 0, sectionAt.extentCount, 4097)],
    ["more sources than extents", "sections.sourceCount", (view) => entry(view, 0, sectionAt.sourceCount, 5)],
    ["a hole between sections", "sections.start", (view) => entry(view, 1, sectionAt.start, 9999)],
    ["sections that fall", "sections.firstChunk", (view) => view.setUint16(layerFixedBytes, 3, true)],
    ["a section that ends before it begins", "sections.lastChunk", (view) => entry(view, 1, sectionAt.lastChunk, 1)],
  ])("refuses %s by %s", (_, field, change) => {
    expect(refusal(tampered(golden, change))).toBe(field);
  });

  it.each<[string, string, LayerSection]>([
    ["a write beyond a frame", "extents.frameOffset", one({ sectors: 9, write: [0, 256 * 1024 - 512] })],
    ["a frame that no batch has", "extents.frameOffset", one({ write: [64, 0] })],
    ["an extent outside its section", "extents.sectors", one({ sector: 1023, sectors: 2 })],
    ["no sectors", "extents.sectors", one({ sectors: 0 })],
    ["a source that isn't there", "extents.source", one({ source: 1 })],
    ["a sequence behind its batch", "extents.sequenceDelta", one({ delta: 10 })],
    ["no term", "sources.batch", one({}, { term: 0 })],
    ["a batch shorter than its header", "sources.size", one({}, { size: 700 })],
    ["a sequence before its batch's", "sources.firstSequence", one({}, { batch: 7 })],
    ["positions that fall", "extents.sequenceDelta", inOrder(0, 3, 0, 3)],
    ["sources that fall", "sources", inOrder(0, 3, 1, 3)],
    ["a source twice", "extents.source", inOrder(1, 3, 0, 4)],
  ])("refuses %s by %s", (_, field, wrong) => {
    expect(refusal(encode(wrong))).toBe(field);
  });

  it("is not encoded beyond its bounds", () => {
    const many = {
      volume: 1,
      firstChunk: 0,
      lastChunk: 0,
      extents: newLayerExtents(sectionExtentsMax + 1),
      sources: [],
    };
    expect(() => encodeSection(many)).toThrow(RangeError);
    expect(() => encodeLayerPart(place, [])).toThrow(RangeError);
  });
});

function entry(view: DataView, index: number, field: number, value: number): void {
  view.setUint32(layerFixedBytes + index * sectionEntryBytes + field, value, true);
}

function one(sample: Partial<Sample>, of: Partial<LayerSource> = {}): LayerSection {
  const extent = { sector: 0, sectors: 1, source: 0, delta: 0, ...sample };
  return section({ volume: 1, firstChunk: 0, lastChunk: 0 }, [source(1, 0, 1, of)], [extent]);
}

function inOrder(source0: number, delta0: number, source1: number, delta1: number): LayerSection {
  const sources = [source(1, 4, 20), source(1, 3, 10)];
  const used = sources.slice(0, Math.max(source0, source1) + 1);
  const extent = { sector: 0, sectors: 1 };
  return section({ volume: 1, firstChunk: 0, lastChunk: 0 }, used, [
    { ...extent, source: source0, delta: delta0 },
    { ...extent, source: source1, delta: delta1 },
  ]);
}
