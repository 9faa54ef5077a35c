import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidInput } from "#core/errors.ts";
import { operationId, siteId, vpgId } from "../../test/kit/batches.ts";
import * as keys from "./keys.ts";
import { comparePositions, formatPosition, parsePosition } from "./position.ts";
import { isUlid, ulidFromBytes, ulidToBytes } from "./ulid-bytes.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe("keys", () => {
  it("come back from their parsers", () => {
    fc.assert(
      fc.property(u32, u32, fc.integer({ min: 0, max: 999_999_999_999 }), fc.maxSafeNat(), (a, b, k, sequence) => {
        const place = { vpgId, term: a, session: b, batch: k };
        expect(keys.parseBatchKey(keys.batchKey(place))).toEqual(place);
        expect(keys.parseTermKey(keys.termKey(vpgId, a, siteId))).toEqual({ vpgId, term: a, minterSiteId: siteId });
        expect(keys.parseSessionClaimKey(keys.sessionClaimKey(vpgId, a))).toEqual({ vpgId, session: a });
        expect(keys.parseDefinitionKey(keys.definitionKey(vpgId, a))).toEqual({ vpgId, revision: a });
        expect(keys.parseManifestKey(keys.manifestKey(vpgId, a))).toEqual({ vpgId, manifest: a });
        const part = { vpgId, layerId: operationId, part: k % 1_000_000 };
        expect(keys.parseLayerPartKey(keys.layerPartKey(part))).toEqual(part);
        const position = { session: b, sequence: sequence + 1 };
        fc.pre(position.sequence <= Number.MAX_SAFE_INTEGER);
        const annotation = { vpgId, position, operationId };
        expect(keys.parseAnnotationKey(keys.annotationKey(vpgId, position, operationId))).toEqual(annotation);
      }),
    );
  });

  it("of reports are read as they are written", () => {
    const place = { vpgId, operationId, attempt: 12, form: "html" } as const;
    const key = keys.reportKey(vpgId, operationId, 12, "html");
    expect(keys.parseReportKey(key)).toEqual(place);
    expect(key.startsWith(keys.reportPrefix(vpgId, operationId))).toBe(true);
    for (const other of [`${key}x`, key.replace("0012", "12"), key.replace(vpgId, "shop")])
      expect(keys.parseReportKey(other), other).toBeUndefined();
  });

  it("sort as their numbers do, and are allowed by the Objects port", () => {
    fc.assert(
      fc.property(u32, u32, (a, b) => {
        const [left, right] = [keys.sessionClaimKey(vpgId, a), keys.sessionClaimKey(vpgId, b)];
        expect(Math.sign(Buffer.compare(Buffer.from(left), Buffer.from(right)))).toBe(Math.sign(a - b));
      }),
    );
    const all = [
      keys.siteKey,
      keys.batchKey({ vpgId, term: 1, session: 2, batch: 3 }),
      keys.termKey(vpgId, 1, siteId),
      keys.decisionKey(vpgId, operationId),
      keys.reportKey(vpgId, operationId, 1, "json"),
      keys.annotationKey(vpgId, { session: 1, sequence: 2 }, operationId),
    ];
    for (const key of all) expect(key).toMatch(/^[a-z0-9._/-]{1,512}$/);
    expect(all[1]).toBe(`journal/${vpgId}/0000000001/0000000002/000000000003`);
    expect(all[1]?.startsWith(keys.sessionPrefix(vpgId, 1, 2))).toBe(true);
  });

  it.each([
    "journal/x/0000000001/0000000002/000000000003",
    `journal/${vpgId}/1/2/3`,
    `journal/${vpgId}/9999999999/0000000002/000000000003`,
    `journal/${vpgId}/0000000001/0000000002/000000000003.tmp`,
  ])("foreign names are not parsed: %s", (key) => {
    expect(keys.parseBatchKey(key)).toBeUndefined();
  });

  it("refuse ids and numbers that are none", () => {
    expect(() => keys.journalPrefix("../other")).toThrow(InvalidInput);
    expect(() => keys.journalPrefix(vpgId.toUpperCase())).toThrow(InvalidInput);
    expect(() => keys.sessionClaimKey(vpgId, 2 ** 32)).toThrow(InvalidInput);
    expect(() => keys.sessionClaimKey(vpgId, -1)).toThrow(InvalidInput);
    expect(keys.parseSessionClaimKey(`sessions/${vpgId}/1.json`)).toBeUndefined();
    expect(keys.parseSessionClaimKey(`sessions/${vpgId}/9999999999.json`)).toBeUndefined();
    expect(keys.parseOperationKey(`operations/${vpgId}/${operationId}.1.json`)).toBeUndefined();
    expect(keys.parseOperationKey(`operations/${vpgId}/${operationId}.0001-other.json`)).toBeUndefined();
    expect(keys.parseTermKey(`terms/${vpgId}/0000000001-me.json`)).toBeUndefined();
    expect(
      keys.parseAnnotationKey(`annotations/${vpgId}/0000000001-9999999999999999/${operationId}.json`),
    ).toBeUndefined();
  });
});

describe("positions", () => {
  it("are read as they are written, and nothing else is", () => {
    expect(formatPosition({ session: 12, sequence: 34_567 })).toBe("12-34567");
    expect(parsePosition("12-34567")).toEqual({ session: 12, sequence: 34_567 });
    for (const text of [
      "",
      "12",
      "12-",
      "0-1",
      "1-0",
      "01-1",
      "1-01",
      "4294967296-1",
      "1-9007199254740992",
      "1-1 ",
      "a-b",
    ]) {
      expect(() => parsePosition(text), text).toThrow(InvalidInput);
    }
  });

  it("compare session first", () => {
    const sorted = [
      [1, 5],
      [1, 10],
      [2, 1],
      [10, 0],
    ].map(([session = 0, sequence = 0]) => ({ session, sequence }));
    expect([...sorted].reverse().sort(comparePositions)).toEqual(sorted);
  });
});

describe("ULIDs", () => {
  it("are 128 bits, both ways", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = ulidFromBytes(bytes);
        expect(isUlid(text)).toBe(true);
        expect(ulidToBytes(text)).toEqual(bytes);
      }),
    );
    expect(ulidFromBytes(new Uint8Array(16).fill(0xff))).toBe("7zzzzzzzzzzzzzzzzzzzzzzzzz");
    expect(() => ulidToBytes("8zzzzzzzzzzzzzzzzzzzzzzzzz")).toThrow(InvalidInput);
  });
});
