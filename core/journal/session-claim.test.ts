import { describe, expect, it } from "vitest";
import { Corrupt, UnsupportedFormat } from "#core/errors.ts";
import { siteId, vpgId } from "../../test/kit/batches.ts";
import { decodeSessionClaim, encodeSessionClaim, type SessionClaim } from "./session-claim.ts";

const claim: SessionClaim = {
  formatVersion: 1,
  vpgId,
  term: 1,
  session: 3,
  gatewayId: siteId,
  nonce: "n",
  openedAt: 5,
  configRevision: 2,
  continues: true,
  volumes: [{ volume: 0, sizeBytes: 1024, sectorBytes: 512 }],
};

const seeds: SessionClaim = { ...claim, formatVersion: 3, continues: false, seed: true };

function stored(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

describe("session claims", () => {
  it("come back as they were", () => {
    for (const one of [claim, seeds]) expect(decodeSessionClaim(encodeSessionClaim(one))).toEqual(one);
  });

  it.each<[string, unknown]>([
    ["an unknown field", { ...claim, more: 1 }],
    ["an ordinal of 0", { ...claim, session: 0 }],
    ["a volume twice", { ...claim, volumes: [...claim.volumes, ...claim.volumes] }],
    ["a sector size", { ...claim, volumes: [{ volume: 0, sizeBytes: 1024, sectorBytes: 1024 }] }],
    ["seeds that a reader of version 1 would take for a capture", { ...seeds, formatVersion: 1 }],
    ["version 3 without seeds", { ...claim, formatVersion: 3 }],
    ["seeds that continue", { ...seeds, continues: true }],
    ["no object", null],
  ])("refuse %s", (_, value) => {
    expect(() => decodeSessionClaim(stored(value))).toThrow(Corrupt);
  });

  it("refuse what is not JSON, too long, or of a newer version", () => {
    expect(() => decodeSessionClaim(Uint8Array.of(0xff))).toThrow(Corrupt);
    expect(() => decodeSessionClaim(new Uint8Array(300 * 1024))).toThrow(Corrupt);
    expect(() => decodeSessionClaim(stored({ ...claim, formatVersion: 4, future: true }))).toThrow(UnsupportedFormat);
  });
});
