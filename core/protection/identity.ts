import { z } from "zod";
import { InvalidInput, NotFound } from "#core/errors.ts";
import { type Id, idSchema, nameSchema, newId } from "#core/ids.ts";
import { siteKey } from "#core/journal/keys.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import type { Clock, Objects, Random } from "#core/ports.ts";

const identitySchema = z.strictObject({
  formatVersion: z.literal(1),
  siteId: idSchema,
  name: nameSchema,
  createdAt: z.int(),
});
export type SiteIdentity = z.infer<typeof identitySchema>;

/** Who this bucket's site is. Throws `NotFound` for a bucket that no site has served. */
export async function readIdentity(objects: Objects): Promise<SiteIdentity> {
  return parseStored(identitySchema, await objects.get(siteKey), siteKey);
}

/** The identity, made at the first start and the same for ever. Throws `InvalidInput` for another name than the first. */
export async function claimIdentity(
  objects: Objects,
  name: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<SiteIdentity> {
  const stands = (await findIdentity(objects)) ?? (await makeIdentity(objects, name, clock, random));
  if (stands.name !== name) {
    throw new InvalidInput(`this bucket belongs to the site "${stands.name}", not "${name}"`, { field: "name" });
  }
  return stands;
}

async function makeIdentity(objects: Objects, name: string, clock: Clock, random: Random): Promise<SiteIdentity> {
  const siteId: Id = newId(clock, random);
  const identity = identitySchema.parse({ formatVersion: 1, siteId, name, createdAt: clock.now() });
  await objects.put(siteKey, jsonBytes(identity), { ifAbsent: true });
  return readIdentity(objects);
}

/** Undefined for a bucket that no site has served. */
export async function findIdentity(objects: Objects): Promise<SiteIdentity | undefined> {
  try {
    return await readIdentity(objects);
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}
