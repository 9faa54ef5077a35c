import { z } from "zod";
import { sectorBytesMin } from "#core/blocks/geometry.ts";
import { Corrupt, UnsupportedFormat } from "#core/errors.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import {
  componentsMax,
  safeIntegerMax,
  sessionObjectBytesMax,
  u32Max,
  volumeNumberMax,
  volumesPerSessionMax,
} from "./limits.ts";

const ulid = z.string().regex(/^[0-7][0-9a-hjkmnp-tv-z]{25}$/);

export const sessionVolumeSchema = z
  .strictObject({
    volume: z.int().min(0).max(volumeNumberMax),
    /** Size when the session opened; resize records change it later. */
    sizeBytes: z.int().min(sectorBytesMin).max(safeIntegerMax),
    sectorBytes: z.union([z.literal(512), z.literal(4096)]),
  })
  .readonly();

/** The object `sessions/<vpg>/<ordinal>.json`: created once, never changed or deleted. */
export const sessionClaimSchema = z
  .strictObject({
    /**
     * 4: stored with its hash; written since. Before, without: 1; 2 of a VPG with several source gateways, and only then are `previous`
     * and `gateways` there; 3 of seeds, and only then is `seed` there.
     */
    formatVersion: z.union([z.literal(1), z.literal(2), z.literal(3), z.literal(4)]),
    vpgId: ulid,
    term: z.int().min(1).max(u32Max),
    /** Ordinal over the VPG's whole life. */
    session: z.int().min(1).max(u32Max),
    gatewayId: ulid,
    /** Chosen by the gateway's process, so that a repeated call to open finds its own session again. */
    nonce: z.string().min(1).max(64),
    /** Milliseconds since the epoch, the site's clock. */
    openedAt: z.int().min(0).max(safeIntegerMax),
    configRevision: z.int().min(0).max(safeIntegerMax),
    /** The gateway vouches that its disks are as the previous session's clean end left them. */
    continues: z.boolean(),
    /** The gateway's own volumes. */
    volumes: z.array(sessionVolumeSchema).max(volumesPerSessionMax).readonly(),
    /** Of a VPG with several source gateways: ordinal of the gateway's session before this one, 0 for none; else that is `session` - 1. */
    previous: z.int().min(0).max(u32Max).exactOptional(),
    /** All source gateways of the VPG, the coordinator of its barriers first. */
    gateways: z.array(ulid).min(2).max(componentsMax).readonly().exactOptional(),
    /** Old disks or copies come in: no volume is synced before its end, and it has no checkpoint, whatever its records say. */
    seed: z.literal(true).exactOptional(),
  })
  .refine((claim) => new Set(claim.volumes.map((entry) => entry.volume)).size === claim.volumes.length, {
    message: "a volume stands twice",
  })
  .refine(
    ({ formatVersion, previous, gateways }) =>
      (previous === undefined) === (gateways === undefined) && fits(formatVersion, 2, gateways !== undefined),
    { message: "previous and gateways belong together, and of the versions before 4 to version 2" },
  )
  .refine(
    ({ seed, formatVersion, continues, gateways }) =>
      fits(formatVersion, 3, seed === true) && !(seed && (continues || gateways !== undefined)),
    { message: "seeds belong, of the versions before 4, to version 3; they continue nothing and make no barriers" },
  )
  .refine((claim) => claim.previous === undefined || claim.previous < claim.session, {
    message: "previous is not before",
  })
  .refine(({ gateways, gatewayId }) => gateways === undefined || isGroup(gateways, gatewayId), {
    message: "gateways must be different ones, this one among them",
  })
  .readonly();

/** Until version 4 each kind of session had a version of its own. */
function fits(version: number, own: number, isOfKind: boolean): boolean {
  return version === 4 || (version === own) === isOfKind;
}

function isGroup(gateways: readonly string[], own: string): boolean {
  return new Set(gateways).size === gateways.length && gateways.includes(own);
}

export type SessionClaim = z.infer<typeof sessionClaimSchema>;

/** The object's bytes: the same claim gives the same bytes. Throws a `ZodError` for a claim of the wrong shape. */
export function encodeSessionClaim(claim: SessionClaim): Uint8Array {
  const plain = sessionClaimSchema.parse(claim);
  const bytes = jsonOf(plain);
  return plain.formatVersion === 4 ? jsonOf({ ...plain, sha256: Buffer.from(sha256(bytes)).toString("hex") }) : bytes;
}

const jsonOf = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Reads a stored claim. Throws `UnsupportedFormat` for a newer version, `Corrupt` for anything else, as for a claim that its hash is not of. */
export function decodeSessionClaim(bytes: Uint8Array): SessionClaim {
  if (bytes.length > sessionObjectBytesMax) throw new Corrupt(`a session object of ${bytes.length} bytes`);
  const json = parseJson(bytes);
  const version = z.looseObject({ formatVersion: z.int().min(5) }).safeParse(json);
  if (version.success) {
    throw new UnsupportedFormat("a session object of a newer format: use a newer Farshore", { field: "formatVersion" });
  }
  const claim = sessionClaimSchema.safeParse(withoutHash(json));
  if (!claim.success) throw new Corrupt("a session object of the wrong shape", {}, { cause: claim.error });
  if (claim.data.formatVersion === 4 && !bytesEqual(bytes, encodeSessionClaim(claim.data))) {
    throw new Corrupt("a session object that does not have the SHA-256 it says");
  }
  return claim.data;
}

/** The claim of a version that has a hash, apart from it. */
function withoutHash(json: unknown): unknown {
  const stored = z.looseObject({ formatVersion: z.literal(4), sha256: z.string() }).safeParse(json);
  if (!stored.success) return json;
  const { sha256: _, ...plain } = stored.data;
  return plain;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new Corrupt("a session object that is not JSON", {}, { cause });
  }
}
