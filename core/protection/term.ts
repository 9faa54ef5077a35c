import { z } from "zod";
import { idSchema } from "#core/ids.ts";

/** A journal position as an object carries it. */
export const positionSchema = z.strictObject({ session: z.int().min(0), sequence: z.int().min(0) });

/**
 * R9: a link in the chain of authority over a VPG; the bucket object `terms/<vpg>/<n>-<minter>.json`, claimed by create-if-absent
 * and never deleted. `runs` and `journal` name sites: an id of a site, or "protected" for a source that has no site of its own.
 */
export const termSchema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: idSchema,
  n: z.int().min(1).max(0xffff_ffff),
  minter: idSchema,
  runs: z.union([idSchema, z.literal("protected")]),
  journal: idSchema.nullable(),
  parent: z.int().min(0),
  /** Where this term left its parent: the positions of the recovered checkpoint, one per session. */
  fork: z.array(positionSchema).max(64),
  mintedAt: z.int(),
  /** Why: the operation that minted it, null for the first. */
  operationId: idSchema.nullable(),
});
export type Term = z.infer<typeof termSchema>;

/** What this site is to a VPG (R16): Journal before a failover, Runs after its commit. */
export type Role = "Journal" | "Runs" | "Dark" | "Preparing" | "Retired";
