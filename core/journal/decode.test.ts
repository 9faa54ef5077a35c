import { crc32, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { operationId, patterned, sampleBatch, sampleInput, siteId, tampered, vpgId } from "../../test/kit/batches.ts";
import type { BatchInput } from "./batch.ts";
import { decodeHeader, decodeObject, decodeSeal } from "./decode.ts";
import { encodeBatch, encodeSeal } from "./encode.ts";
import { headerLength, viewOf } from "./fixed-header.ts";
import { compressFrame } from "./frame.ts";
import { at, fixedHeaderBytes, frameAt, frameEntryBytes, recordAt, recordBytes } from "./layout.ts";
import { headerBytesMax, objectBytesMax, recordsMax } from "./limits.ts";
import { type BatchBounds, verifyBatch } from "./verify-batch.ts";

const input = sampleInput({
  batch: 1,
  firstSequence: 10,
  extents: [
    { sequence: 10, offset: 0, bytes: patterned(4096, 1) },
    { sequence: 11, offset: 8192, zero: 4096 },
    { sequence: 12, offset: 4096, bytes: patterned(1024, 7) },
  ],
  events: [{ kind: "marker", sequence: 13, time: 5, tag: "t" }],
});
const object = encodeBatch(input);
const bounds: BatchBounds = {
  vpgId,
  term: 1,
  session: 1,
  batch: 1,
  volumes: new Map([[0, { sizeBytes: 65_536, sectorBytes: 512 }]]),
};

/** Name and field of what `act` throws. */
function refusal(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    if (error instanceof FarshoreError) return [error.name, error.details["field"]];
    throw error;
  }
  return "accepted";
}

function record(index: number): number {
  return fixedHeaderBytes + index * recordBytes;
}
const frameEntry = record(4);
const text = frameEntry + frameEntryBytes;

describe("decodeHeader", () => {
  it("reads from a prefix that holds just the header", () => {
    const length = headerLength(object.subarray(0, 20));
    const header = decodeHeader(object.subarray(0, length), { size: object.length });
    expect(header).toMatchObject({ batch: 1, firstSequence: 10, lastSequence: 13, headerLength: length });
    expect(refusal(() => decodeHeader(object.subarray(0, length - 1)))).toEqual(["MalformedBatch", "length"]);
    expect(refusal(() => decodeHeader(object, { size: 5 }))).toEqual(["MalformedBatch", "objectLength"]);
    expect(refusal(() => headerLength(object.subarray(0, 19)))).toEqual(["MalformedBatch", "length"]);
  });

  it("ignores ignorable flags and fields a later minor version appends", () => {
    const flagged = tampered(object, (view) => view.setUint32(at.ignorableFlags, 0xffff_ffff, true));
    expect(decodeHeader(flagged).events).toEqual(input.events);
    const longer = Buffer.concat([
      object.subarray(0, fixedHeaderBytes),
      Buffer.alloc(8, 1),
      object.subarray(fixedHeaderBytes),
    ]);
    const view = viewOf(longer);
    view.setUint16(at.minor, 1, true);
    view.setUint16(at.fixedLength, fixedHeaderBytes + 8, true);
    view.setUint32(at.headerLength, view.getUint32(at.headerLength, true) + 8, true);
    view.setUint32(at.objectLength, longer.length, true);
    expect(decodeHeader(tampered(longer, () => {}))).toMatchObject({ minor: 1, events: input.events });
  });

  it.each<[string, string, (view: DataView, bytes: Uint8Array) => void]>([
    ["MalformedBatch", "magic", (view) => view.setUint8(at.magic + 4, 0x0a)],
    ["MalformedBatch", "major", (view) => view.setUint16(at.major, 0, true)],
    ["UnsupportedFormat", "major", (view) => view.setUint16(at.major, 2, true)],
    ["MalformedBatch", "fixedLength", (view) => view.setUint16(at.fixedLength, 200, true)],
    [
      "MalformedBatch",
      "fixedLength",
      (view) => {
        view.setUint16(at.minor, 1, true);
        view.setUint16(at.fixedLength, 1032, true);
      },
    ],
    ["MalformedBatch", "kind", (view) => view.setUint8(at.kind, 3)],
    ["MalformedBatch", "firstSequence", (view) => view.setUint8(at.kind, 2)],
    ["UnsupportedFormat", "cipherSuite", (view) => view.setUint8(at.cipherSuite, 1)],
    ["UnsupportedFormat", "criticalFlags", (view) => view.setUint32(at.criticalFlags, 2, true)],
    ["MalformedBatch", "criticalFlags", (view) => view.setUint32(at.criticalFlags, 1, true)],
    ["MalformedBatch", "keyId", (view) => view.setUint8(at.keyId + 15, 1)],
    ["MalformedBatch", "term", (view) => view.setUint32(at.term, 0, true)],
    ["MalformedBatch", "session", (view) => view.setUint32(at.session, 0, true)],
    ["MalformedBatch", "batch", (view) => view.setUint32(at.batch + 4, 0xffff, true)],
    ["MalformedBatch", "batch", (view) => view.setUint32(at.batch + 4, 0xffff_ffff, true)],
    ["MalformedBatch", "firstSequence", (view) => view.setUint32(at.batch, 0, true)],
    ["MalformedBatch", "previousHash", (_, bytes) => bytes.fill(0, at.previousHash, at.previousHash + 32)],
    ["MalformedBatch", "configRevision", (view) => view.setUint32(at.configRevision + 4, 0x20_0000, true)],
    ["MalformedBatch", "firstSequence", (view) => view.setUint32(at.firstSequence, 1, true)],
    ["MalformedBatch", "lastSequence", (view) => view.setUint32(at.lastSequence, 9, true)],
    ["MalformedBatch", "lastSequence", (view) => view.setUint32(at.lastSequence + 4, 2, true)],
    ["MalformedBatch", "sourceTimeFirst", (view) => view.setUint32(at.sourceTimeFirst + 4, 0x20_0000, true)],
    ["MalformedBatch", "sourceTimeLast", (view) => view.setUint32(at.sourceTimeLast + 4, 0x20_0000, true)],
    ["MalformedBatch", "objectLength", (view) => view.setUint32(at.objectLength, 1, true)],
    ["MalformedBatch", "recordCount", (view) => view.setUint32(at.recordCount, 0, true)],
    ["MalformedBatch", "recordCount", (view) => view.setUint32(at.recordCount, recordsMax + 1, true)],
    ["MalformedBatch", "headerLength", (view) => view.setUint32(at.recordCount, 3, true)],
    ["MalformedBatch", "frameCount", (view) => view.setUint32(at.frameCount, 65, true)],
    ["MalformedBatch", "textLength", (view) => view.setUint32(at.textLength, 129, true)],
    ["MalformedBatch", "textLength", (view) => view.setUint32(at.textLength, 2, true)],
    ["MalformedBatch", "storedLength", (view) => view.setUint32(at.storedLength, 0xffff_ffff, true)],
    ["MalformedBatch", "rawLength", (view) => view.setUint32(at.rawLength, 0xffff_ffff, true)],
    ["MalformedBatch", "rawLength", (view) => view.setUint32(at.rawLength, 6144, true)],
    ["MalformedBatch", "reserved", (view) => view.setUint8(fixedHeaderBytes - 1, 1)],
    ["MalformedBatch", "records.kind", (view) => view.setUint8(record(0) + recordAt.kind, 11)],
    ["MalformedBatch", "records.kind", (view) => view.setUint8(record(0) + recordAt.kind, 0)],
    ["MalformedBatch", "records.frame", (view) => view.setUint8(record(0) + recordAt.frame, 1)],
    ["MalformedBatch", "records.frame", (view) => view.setUint8(record(1) + recordAt.frame, 1)],
    ["MalformedBatch", "records.frame", (view) => view.setUint8(record(3) + recordAt.frame, 1)],
    ["MalformedBatch", "records.sequence", (view) => view.setUint32(record(1) + recordAt.sequenceDelta, 0, true)],
    ["MalformedBatch", "records.kind", (view) => view.setUint32(at.lastSequence, 14, true)],
    ["MalformedBatch", "records.offset", (view) => view.setUint32(record(0) + recordAt.offset, 1, true)],
    ["MalformedBatch", "records.offset", (view) => view.setUint32(record(0) + recordAt.offset + 4, 0x20_0000, true)],
    [
      "MalformedBatch",
      "records.offset",
      (view) =>
        view.setUint32(record(1) + recordAt.offset + 4, 0x1f_ffff, true) ??
        view.setUint32(record(1) + recordAt.offset, 0xffff_fe00, true),
    ],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(0) + recordAt.length, 0, true)],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(0) + recordAt.length, 513, true)],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(0) + recordAt.length, 262_656, true)],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(1) + recordAt.length, 0x4000_0200, true)],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(2) + recordAt.length, 1536, true)],
    ["MalformedBatch", "frames", (view) => view.setUint32(record(2) + recordAt.length, 512, true)],
    ["MalformedBatch", "records.frameOffset", (view) => view.setUint32(record(2) + recordAt.frameOffset, 0, true)],
    ["MalformedBatch", "records.frameOffset", (view) => view.setUint32(record(1) + recordAt.frameOffset, 1, true)],
    ["MalformedBatch", "records.frameOffset", (view) => view.setUint32(record(3) + recordAt.frameOffset, 1, true)],
    ["MalformedBatch", "records.volume", (view) => view.setUint16(record(3) + recordAt.volume, 1, true)],
    ["MalformedBatch", "records.length", (view) => view.setUint32(record(3) + recordAt.length, 2, true)],
    ["MalformedBatch", "textLength", (view) => view.setUint32(record(3) + recordAt.length, 0, true)],
    ["MalformedBatch", "frames.codec", (view) => view.setUint8(frameEntry + frameAt.codec, 2)],
    ["MalformedBatch", "frames.reserved", (view) => view.setUint8(frameEntry + frameAt.reserved, 1)],
    ["MalformedBatch", "storedLength", (view) => view.setUint32(frameEntry + frameAt.storedLength, 1, true)],
    ["MalformedBatch", "frames.storedLength", (view) => view.setUint8(frameEntry + frameAt.codec, 0)],
    ["MalformedBatch", "textPadding", (view) => view.setUint8(text + 1, 1)],
    ["MalformedBatch", "records.tag", (view) => view.setUint8(text, 0xff)],
  ])("refuses by %s %s", (name, field, change) => {
    expect(refusal(() => decodeHeader(tampered(object, change)))).toEqual([name, field]);
  });

  it("refuses a header that says more than is bounded, before reading on", () => {
    for (const length of [0, 195, headerBytesMax + 1, 0xffff_ffff]) {
      const prefix = Uint8Array.from(object.subarray(0, 20));
      viewOf(prefix).setUint32(at.headerLength, length, true);
      expect(refusal(() => headerLength(prefix))).toEqual(["MalformedBatch", "headerLength"]);
    }
    expect(refusal(() => decodeObject(new Uint8Array(objectBytesMax + 1)))).toEqual(["MalformedBatch", "length"]);
  });

  it("refuses a last sequence that has no record", () => {
    const changed = tampered(sampleBatch({ extents: [{ sequence: 1, offset: 0, zero: 512 }] }), (view) =>
      view.setUint32(at.lastSequence, 2, true),
    );
    expect(refusal(() => decodeHeader(changed))).toEqual(["MalformedBatch", "lastSequence"]);
  });

  it("refuses a marker, final, close, hold or barrier that is not last", () => {
    for (const kind of ["marker", "close", "final", "hold", "barrier"] as const) {
      const vector = [1, 2].map((session) => ({ session, sequence: 1 }));
      const early = { kind, sequence: 2, time: 0, tag: "", operationId, hash: new Uint8Array(32), vector };
      const act = (): unknown =>
        sampleBatch({ events: [early, { kind: "sync-begin", sequence: 3, volume: 0 }], firstSequence: 1 });
      expect(refusal(act)).toEqual(["MalformedBatch", "records.kind"]);
    }
  });
});

describe("verifyBatch", () => {
  it("accepts what was encoded", () => {
    expect(verifyBatch(object, bounds)).toMatchObject({ events: input.events });
  });

  it.each(["term", "session", "batch"] as const)("refuses another %s", (field) => {
    expect(refusal(() => verifyBatch(object, { ...bounds, [field]: 2 }))).toEqual(["MalformedBatch", field]);
  });

  it("refuses another VPG, a seal, and a wrong trailer", () => {
    expect(refusal(() => verifyBatch(object, { ...bounds, vpgId: siteId }))).toEqual(["MalformedBatch", "vpgId"]);
    const seal = encodeSeal({
      ...bounds,
      siteId,
      reason: "operator",
      followingTerm: 0,
      followingSession: 0,
      sealedAt: 1,
    });
    expect(refusal(() => verifyBatch(seal, bounds))).toEqual(["MalformedBatch", "kind"]);
    const wrong = Uint8Array.from(object);
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
    expect(refusal(() => verifyBatch(wrong, bounds))).toEqual(["MalformedBatch", "sha256"]);
  });

  it.each([
    ["records.offset", { sizeBytes: 8192, sectorBytes: 512 }],
    ["records.length", { sizeBytes: 65_536, sectorBytes: 4096 }],
    ["records.offset", { sizeBytes: 65_536, sectorBytes: 8192 }],
  ])("holds records to their volume: %s", (field, volume) => {
    const [act, index] = [() => verifyBatch(object, { ...bounds, volumes: new Map([[0, volume]]) }), field];
    expect(refusal(act)).toEqual(["MalformedBatch", volume.sectorBytes === 8192 ? "records.length" : index]);
  });

  it("refuses records and events of unknown volumes", () => {
    expect(refusal(() => verifyBatch(object, { ...bounds, volumes: new Map() }))).toEqual([
      "MalformedBatch",
      "records.volume",
    ]);
    const sync = sampleBatch({ batch: 1, events: [{ kind: "sync-begin", sequence: 5, volume: 3 }] });
    expect(refusal(() => verifyBatch(sync, bounds))).toEqual(["MalformedBatch", "records.volume"]);
  });

  it("counts a resize for what follows it and not before", () => {
    const grown = (sequence: number): Uint8Array =>
      sampleBatch({
        batch: 1,
        extents: [{ sequence: 11, offset: 65_536, bytes: patterned(512, 2) }],
        events: [
          { kind: "resize", sequence, volume: 0, sizeBytes: 131_072 },
          { kind: "marker", sequence: 13, time: 0, tag: "" },
        ],
      });
    expect(verifyBatch(grown(10), bounds).events).toHaveLength(2);
    expect(refusal(() => verifyBatch(grown(12), bounds))).toEqual(["MalformedBatch", "records.offset"]);
  });

  it("refuses bombs and other dishonest frames by name", () => {
    const raw = patterned(4096, 1);
    const good = zstdCompressSync(raw, { pledgedSrcSize: raw.length });
    const bomb = zstdCompressSync(Buffer.alloc(200 * 1024 * 1024));
    const cases: readonly [string, Uint8Array][] = [
      ["frames.zstd", bomb.subarray(0, 4000)],
      ["frames.zstd", zstdCompressSync(patterned(8192, 1), { pledgedSrcSize: 8192 })],
      ["frames.zstd", Buffer.concat([good, Buffer.alloc(4)])],
      ["frames.zstd", Buffer.concat([good, zstdCompressSync(Buffer.alloc(0))])],
      ["frames.zstd", good.subarray(0, good.length - 2)],
      ["frames.zstd", Buffer.from("not zstd at all")],
    ];
    for (const [field, bytes] of cases) {
      const frame = { codec: "zstd" as const, bytes, crc32: crc32(bytes), rawLength: 4096 };
      const forged: BatchInput = {
        ...sampleInput({ batch: 1, extents: [{ sequence: 10, offset: 0, bytes: raw }] }),
        frames: [frame],
      };
      expect(refusal(() => verifyBatch(encodeBatch(forged), bounds))).toEqual(["MalformedBatch", field]);
    }
    const wrongCrc = { ...compressFrame(raw, "zstd1"), crc32: 1 };
    const forged = {
      ...sampleInput({ batch: 1, extents: [{ sequence: 10, offset: 0, bytes: raw }] }),
      frames: [wrongCrc],
    };
    expect(refusal(() => verifyBatch(encodeBatch(forged), bounds))).toEqual(["MalformedBatch", "frames.crc32"]);
  });
});

describe("seals", () => {
  const seal = {
    ...bounds,
    siteId,
    reason: "failover-committed",
    followingTerm: 2,
    followingSession: 0,
    sealedAt: 9,
  } as const;

  it("come back as they were", () => {
    const { volumes: _, ...facts } = seal;
    expect(decodeSeal(encodeSeal(seal))).toEqual(facts);
    expect(refusal(() => decodeSeal(object))).toEqual(["MalformedBatch", "kind"]);
  });

  it.each([
    ["reason", fixedHeaderBytes + 16, 9],
    ["reserved", fixedHeaderBytes + 28, 1],
    ["previousHash", at.previousHash, 1],
    ["firstSequence", at.firstSequence, 1],
    ["configRevision", at.configRevision, 1],
    ["sourceTimeLast", at.sourceTimeLast, 1],
  ])("refuse a wrong %s", (field, place, value) => {
    const changed = tampered(encodeSeal(seal), (view) => view.setUint8(place, value));
    expect(refusal(() => decodeSeal(changed))).toEqual(["MalformedBatch", field]);
  });
});

describe("limits", () => {
  it("keep the largest batch under a function's request after base64", () => {
    expect(Math.ceil(objectBytesMax / 3) * 4).toBeLessThan(6_000_000);
  });
});
