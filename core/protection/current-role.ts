import { idSchema } from "#core/ids.ts";
import type { Caller, Site } from "#core/site.ts";
import { assertMayRead } from "./journal-reads.ts";
import { bucketKeys } from "./keys.ts";
import type { Role } from "./term.ts";
import { assertTableCurrent } from "./terms.ts";
import { findByRef, noVpg } from "./vpg-store.ts";

/**
 * What this site is to the VPG of that name or id, or that it was deleted here: never by the table alone, since disks are removed on the
 * strength of it. Throws `TableBehindBucket`; `NotFound` where the bucket doesn't say either that there was one; `Forbidden` for who is
 * none of its gateways.
 */
export async function currentRole(site: Site, caller: Caller, ref: string): Promise<Role | "deleted"> {
  const vpg = await findByRef(site, ref);
  if (vpg !== undefined && !vpg.deleted) {
    assertMayRead(caller, vpg);
    await assertTableCurrent(site, vpg);
    return vpg.role;
  }
  const vpgId = vpg?.vpgId ?? idSchema.safeParse(ref).data;
  if (vpgId !== undefined && (await site.objects.head(bucketKeys.deletedVpg(vpgId))) !== undefined) return "deleted";
  throw noVpg(ref);
}
