import { expect, it } from "vitest";
import { MalformedBatch } from "#core/errors.ts";
import { operationId, patterned, sampleBatch, siteId, vpgId } from "../../test/kit/batches.ts";
import { describeObject } from "./describe.ts";
import { encodeSeal } from "./encode.ts";

it("a batch is described record by record, in order", () => {
  const object = sampleBatch({
    extents: [
      { sequence: 1, offset: 512, bytes: patterned(512, 1) },
      { sequence: 3, volume: 2, offset: 0, zero: 1024 },
    ],
    events: [
      { kind: "sync-end", sequence: 2, volume: 2 },
      { kind: "final", sequence: 4, operationId, hash: new Uint8Array(32).fill(0xab) },
    ],
  });
  const described = describeObject(object);
  expect(described).toMatchObject({ kind: "batch", vpgId, batch: 0, previousHash: "00".repeat(32) });
  expect(described).toHaveProperty("records", [
    { kind: "write", sequence: 1, volume: 0, offset: 512, length: 512, frame: 0, frameOffset: 0 },
    { kind: "sync-end", sequence: 2, volume: 2 },
    { kind: "zero", sequence: 3, volume: 2, offset: 0, length: 1024 },
    { kind: "final", sequence: 4, operationId, hash: "ab".repeat(32) },
  ]);
  expect(JSON.parse(JSON.stringify(described))).toEqual(described);
});

it("a seal is described, and damage is refused", () => {
  const seal = { vpgId, term: 1, session: 2, batch: 3, siteId, followingTerm: 1, followingSession: 3, sealedAt: 5 };
  const object = encodeSeal({ ...seal, reason: "operator" });
  expect(describeObject(object)).toMatchObject({ kind: "seal", ...seal, reason: "operator" });
  object[200] = 1;
  expect(() => describeObject(object)).toThrow(MalformedBatch);
});
