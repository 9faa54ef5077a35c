import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FarshoreError } from "#core/errors.ts";
import { operationId, patterned, sampleInput, siteId, tampered, vpgId } from "../../test/kit/batches.ts";
import type { BatchInput, Seal } from "./batch.ts";
import { decodeObject } from "./decode.ts";
import { encodeBatch, encodeSeal } from "./encode.ts";
import { decodeFrame } from "./frame.ts";
import { bytesEqual } from "./hash.ts";
import { at } from "./layout.ts";

/**
 * Files that every later version must go on reading. They are written again only by
 * `FARSHORE_WRITE_GOLDEN=1 vitest run --project unit core/journal/golden.test.ts`, which a change of format has to state.
 */
const inputs: Readonly<Record<string, BatchInput>> = {
  "one-write": sampleInput({ extents: [{ sequence: 1, offset: 4096, bytes: patterned(512, 1) }], level: "raw" }),
  mixed: sampleInput({
    term: 2,
    session: 7,
    batch: 3,
    firstSequence: 40,
    extents: [
      { sequence: 42, offset: 0, bytes: patterned(1024, 3) },
      { sequence: 43, volume: 1, offset: 1024 ** 4, zero: 1024 ** 3 },
      { sequence: 45, offset: 512, bytes: patterned(4096, 5) },
    ],
    events: [
      { kind: "sync-begin", sequence: 40, volume: 1 },
      { kind: "resize", sequence: 44, volume: 0, sizeBytes: 8192 },
      { kind: "sync-end", sequence: 46, volume: 1 },
      { kind: "marker", sequence: 47, time: 1_767_225_605_123, tag: "vor dem Umzug ✓" },
    ],
  }),
  final: sampleInput({
    batch: 9,
    events: [{ kind: "final", sequence: 900, operationId, hash: patterned(32, 9) }],
  }),
  close: sampleInput({ batch: 10, events: [{ kind: "close", sequence: 901 }] }),
  hold: sampleInput({
    session: 7,
    batch: 11,
    firstSequence: 1000,
    extents: [{ sequence: 1000, offset: 1024, zero: 512 }],
    events: [{ kind: "hold", sequence: 1001, time: 1_767_225_605_900 }],
  }),
  barrier: sampleInput({
    session: 7,
    batch: 12,
    events: [
      {
        kind: "barrier",
        sequence: 1002,
        time: 1_767_225_606_000,
        tag: "vor dem Umzug ✓",
        vector: [
          { session: 4, sequence: 2 ** 40 + 5 },
          { session: 7, sequence: 1001 },
        ],
      },
    ],
  }),
};

const seal: Seal = {
  vpgId,
  term: 2,
  session: 7,
  batch: 4,
  siteId,
  reason: "session-opened",
  followingTerm: 2,
  followingSession: 8,
  sealedAt: 1_767_225_700_000,
};

const names = [...Object.keys(inputs), "seal"];

function pathOf(name: string): URL {
  return new URL(`./golden/${name}.bin`, import.meta.url);
}

if (process.env["FARSHORE_WRITE_GOLDEN"] === "1") {
  for (const [name, input] of Object.entries(inputs)) writeFileSync(pathOf(name), encodeBatch(input));
  writeFileSync(pathOf("seal"), encodeSeal(seal));
}

/** Everything an object says, frames decoded; or the name of the error that refuses it. */
function meaning(bytes: Uint8Array): unknown {
  try {
    const object = decodeObject(bytes);
    if (object.kind === "seal") return object;
    const { header } = object;
    const frames = header.frames.map((frame, index) =>
      decodeFrame(header, index, bytes.subarray(frame.start, frame.start + frame.storedLength), "received"),
    );
    return { header, frames };
  } catch (error) {
    if (error instanceof FarshoreError) return { refused: error.name, field: error.details["field"] };
    throw error;
  }
}

describe.each(names)("golden file %s", (name) => {
  const golden = Uint8Array.from(readFileSync(pathOf(name)));

  it("says what it said when it was written", () => {
    const object = decodeObject(golden);
    if (object.kind === "seal") {
      expect(object.seal).toEqual(seal);
      return;
    }
    const { header } = object;
    const input = inputs[name];
    expect(header).toMatchObject({
      term: input?.term,
      session: input?.session,
      batch: input?.batch,
      firstSequence: input?.firstSequence,
      lastSequence: input?.lastSequence,
      events: input?.events,
    });
    expect(header.extents).toEqual(input?.extents);
  });

  it("is what the encoder makes of its meaning", () => {
    const object = decodeObject(golden);
    if (object.kind === "seal") {
      expect(encodeSeal(object.seal)).toEqual(Buffer.from(golden));
      return;
    }
    const { header } = object;
    const frames = header.frames.map((frame) => ({
      ...frame,
      bytes: golden.subarray(frame.start, frame.start + frame.storedLength),
    }));
    expect(encodeBatch({ ...header, frames })).toEqual(Buffer.from(golden));
  });

  it("is refused after any change of one bit or any truncation", () => {
    for (let place = 0; place < golden.length; place += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const changed = Uint8Array.from(golden);
        changed[place] = (changed[place] ?? 0) ^ (1 << bit);
        expect(meaning(changed), `byte ${place} bit ${bit}`).toHaveProperty("refused");
      }
      expect(meaning(golden.subarray(0, place)), `cut at ${place}`).toHaveProperty("refused");
    }
    expect(meaning(Buffer.concat([golden, Buffer.alloc(1)]))).toEqual({
      refused: "MalformedBatch",
      field: "objectLength",
    });
  });

  it("with its checks made right again, a changed byte is refused by field or decodes to bytes that encode the same", () => {
    for (let place = 0; place < golden.length - 32; place += 1) {
      if (place >= at.headerLength && place < at.headerLength + 4) continue;
      for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        const changed = tampered(golden, (_, bytes) => {
          bytes[place] = value;
        });
        const result = meaning(changed);
        if (result !== null && typeof result === "object" && "refused" in result) {
          expect(result, `byte ${place} = ${value}`).toHaveProperty("field", expect.any(String));
          continue;
        }
        // Ignorable flags and the minor version may say something that this version does not repeat.
        if (place === at.minor || place === at.minor + 1) continue;
        if (place >= at.ignorableFlags && place < at.ignorableFlags + 4) continue;
        const object = decodeObject(changed);
        const again =
          object.kind === "seal"
            ? encodeSeal(object.seal)
            : encodeBatch({
                ...object.header,
                frames: object.header.frames.map((frame) => ({
                  ...frame,
                  bytes: changed.subarray(frame.start, frame.start + frame.storedLength),
                })),
              });
        expect(bytesEqual(again, changed), `byte ${place} = ${value}`).toBe(true);
      }
    }
  });
});
