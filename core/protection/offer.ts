import { z } from "zod";
import { syncProgressSchema } from "#core/api/gateway-api.ts";
import { idSchema } from "#core/ids.ts";
import { definitionSchema } from "./definition.ts";
import { protectionLimits as limits } from "./limits.ts";
import { syncedBytesSchema } from "./operation.ts";
import { termSchema } from "./term.ts";

/**
 * R16 P1: the object `offers/<vpg>/<n>-<minter>.json` of the site that offers, and of the one that takes it; and what the first
 * says to the second. Routes of the peer's API (role peer), each safe to repeat, all answering `offerReplySchema`:
 *
 *   PUT    /v1/vpgs/ID/reverse-offer            offerSchema
 *   POST   /v1/vpgs/ID/reverse-offer/started    startedSchema: the term has begun
 *   DELETE /v1/vpgs/ID/reverse-offer?n=         the offer is taken back
 */
export const offerSchema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: idSchema,
  /** Of the site that offers. */
  operationId: idSchema,
  /** What begins when the offering site claims it. */
  term: termSchema,
  /** Every term before, ascending: who minted what says whether the offer is good. */
  lineage: z.array(termSchema).min(1).max(limits.lineageMax),
  /** As the offering site has it: where the disks are promoted is its recovery gateway. */
  definition: definitionSchema,
  gatewayLost: z.boolean(),
  initiatedBy: z.string(),
});
export type StoredOffer = z.infer<typeof offerSchema>;

export const startedSchema = z.strictObject({ n: z.int().min(1) });

/** The object that says that an offer was taken back. */
export const withdrawnSchema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: idSchema,
  n: z.int().min(1),
  minter: idSchema,
  at: z.int(),
});

export const offerReplySchema = z.object({
  state: z.enum(["closing", "closed", "preparing", "journal", "withdrawn", "superseded", "unknown", "refused"]),
  refusal: z.enum(["number-used", "not-descended", "keyholder", "busy"]).nullable(),
  role: z.string(),
  /** Of the newest term known there; 0 for none. */
  term: z.int(),
  /** What it waits for, or why it refuses, for people. */
  detail: z.string().max(2000),
  /** The old disks are in the journal, or can't be brought into it: the sync may begin. */
  seeded: z.boolean(),
  /** What bringing them took; null when nothing is known of it. */
  seed: syncedBytesSchema.nullable(),
  /** Of the sync of the running disks, or of the one that ended last in this term, by the gateway's last heartbeat. */
  sync: syncProgressSchema.nullable(),
});
export type OfferReply = z.infer<typeof offerReplySchema>;
