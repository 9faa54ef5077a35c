import { ulid } from "ulid";
import { z } from "zod";
import type { Clock, Random } from "#core/ports.ts";

/** A lower-case ULID (26 characters of Crockford base 32): the identity of a site, VPG, gateway, session nonce or operation. Names are labels. */
export type Id = string & { readonly __id: true };

/** Lower-case because ids stand in bucket keys; at most 7 first, so that it fits 128 bits. */
export const idSchema = z
  .string()
  .regex(/^[0-7][0-9a-hjkmnp-tv-z]{25}$/, "must be an id: 26 lower-case letters and digits, as a list shows it")
  .transform((text) => text as Id);

/** A label people give: sites, VPGs, VMs, volumes, gateways, tokens. */
export const nameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "must be 1 to 63 of a-z, 0-9 and inner hyphens");

export function newId(clock: Clock, random: Random): Id {
  // The generator asks for a fraction per character: 256 values map evenly onto 32.
  return ulid(clock.now(), () => (random.bytes(1)[0] ?? 0) / 256).toLowerCase() as Id;
}
