import { z } from "zod";
import { sectorBytesMin } from "#core/blocks/geometry.ts";
import { Corrupt, UnsupportedFormat } from "#core/errors.ts";
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
    /** 2: of a VPG with several source gateways, and only then are `previous` and `gateways` there. 3: of seeds, and only then is `seed` there. */
    formatVersion: z.union([z.literal(1), z.literal(2), z.literal(3)]),
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
    /** Ordinal of the gateway's session before this one, 0 for none; in version 1 that is `session` - 1. */
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
    (claim) => [claim.previous, claim.gateways].every((it) => (it !== undefined) === (claim.formatVersion === 2)),
    {
      message: "previous and gateways belong to version 2",
    },
  )
  .refine(({ seed, formatVersion, continues }) => (seed === true) === (formatVersion === 3) && !(seed && continues), {
    message: "seed belongs to version 3, and seeds continue nothing",
  })
  .refine((claim) => claim.previous === undefined || claim.previous < claim.session, {
    message: "previous is not before",
  })
  .refine(({ gateways, gatewayId }) => gateways === undefined || isGroup(gateways, gatewayId), {
    message: "gateways must be different ones, this one among them",
  })
  .readonly();

function isGroup(gateways: readonly string[], own: string): boolean {
  return new Set(gateways).size === gateways.length && gateways.includes(own);
}

export type SessionClaim = z.infer<typeof sessionClaimSchema>;

/** The object's bytes: the same claim gives the same bytes. Throws a `ZodError` for a claim of the wrong shape. */
export function encodeSessionClaim(claim: SessionClaim): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(sessionClaimSchema.parse(claim)));
}

/** Reads a stored claim. Throws `UnsupportedFormat` for a newer version, `Corrupt` for anything else. */
export function decodeSessionClaim(bytes: Uint8Array): SessionClaim {
  if (bytes.length > sessionObjectBytesMax) throw new Corrupt(`a session object of ${bytes.length} bytes`);
  const json = parseJson(bytes);
  const version = z.looseObject({ formatVersion: z.int().min(4) }).safeParse(json);
  if (version.success) {
    throw new UnsupportedFormat("a session object of a newer format: use a newer Farshore", { field: "formatVersion" });
  }
  const claim = sessionClaimSchema.safeParse(json);
  if (!claim.success) throw new Corrupt("a session object of the wrong shape", {}, { cause: claim.error });
  return claim.data;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new Corrupt("a session object that is not JSON", {}, { cause });
  }
}
