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

const shared: SessionClaim = { ...claim, formatVersion: 2, previous: 1, gateways: [siteId, vpgId] };
const seeds: SessionClaim = { ...claim, formatVersion: 3, continues: false, seed: true };
const hashed = [claim, shared, seeds].map((each): SessionClaim => ({ ...each, formatVersion: 4 }));

function stored(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

describe("session claims", () => {
  it("come back as they were", () => {
    for (const one of [claim, shared, seeds, ...hashed])
      expect(decodeSessionClaim(encodeSessionClaim(one))).toEqual(one);
  });

  it.each<[string, unknown]>([
    ["an unknown field", { ...claim, more: 1 }],
    ["an ordinal of 0", { ...claim, session: 0 }],
    ["a volume twice", { ...claim, volumes: [...claim.volumes, ...claim.volumes] }],
    ["a sector size", { ...claim, volumes: [{ volume: 0, sizeBytes: 1024, sectorBytes: 1024 }] }],
    ["seeds that a reader of version 1 would take for a capture", { ...seeds, formatVersion: 1 }],
    ["version 3 without seeds", { ...claim, formatVersion: 3 }],
    ["seeds that continue", { ...seeds, continues: true }],
    ["version 2 of one gateway", { ...claim, formatVersion: 2 }],
    ["gateways without the session before", { ...hashed[1], previous: undefined }],
    ["seeds that make barriers", { ...hashed[1], continues: false, seed: true }],
    ["version 4 without its hash", hashed[0]],
    ["a hash in version 1", { ...claim, sha256: "00".repeat(32) }],
    ["no object", null],
  ])("refuse %s", (_, value) => {
    expect(() => decodeSessionClaim(stored(value))).toThrow(Corrupt);
  });

  it("refuse what is not JSON, too long, or of a newer version", () => {
    expect(() => decodeSessionClaim(Uint8Array.of(0xff))).toThrow(Corrupt);
    expect(() => decodeSessionClaim(new Uint8Array(300 * 1024))).toThrow(Corrupt);
    expect(() => decodeSessionClaim(stored({ ...claim, formatVersion: 5, future: true }))).toThrow(UnsupportedFormat);
  });

  // Versions 1 to 3 are read as they are: a digit of a term that changed there shows a session without its batches.
  it("of version 4 are refused after a change of one bit in any byte, or any truncation", () => {
    for (const [index, one] of hashed.entries()) {
      const bytes = encodeSessionClaim(one);
      for (let at = 0; at < bytes.length; at += 1) {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ (1 << ((at + 3 * index) % 8));
        expect(() => decodeSessionClaim(changed), `byte ${at}`).toThrow();
        expect(() => decodeSessionClaim(bytes.subarray(0, at)), `cut at ${at}`).toThrow(Corrupt);
      }
    }
  });

  it("are what they were when they were written", () => {
    const stored = [
      `{"formatVersion":1,"vpgId":"${vpgId}","term":1,"session":3,"gatewayId":"${siteId}","nonce":"n","openedAt":5,"configRevision":2,` +
        '"continues":true,"volumes":[{"volume":0,"sizeBytes":1024,"sectorBytes":512}]}',
      `{"formatVersion":4,"vpgId":"${vpgId}","term":1,"session":3,"gatewayId":"${siteId}","nonce":"n","openedAt":5,"configRevision":2,` +
        '"continues":true,"volumes":[{"volume":0,"sizeBytes":1024,"sectorBytes":512}],"sha256":"f16da9f522b508c44c3e994067bc8406d9144b3f2093c74d68c7360c17334514"}',
    ];
    for (const [index, one] of [claim, hashed[0] ?? claim].entries()) {
      expect(Buffer.from(encodeSessionClaim(one)).toString()).toBe(stored[index]);
      expect(decodeSessionClaim(Buffer.from(stored[index] ?? ""))).toEqual(one);
    }
  });
});
