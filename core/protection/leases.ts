import { z } from "zod";
import { InvalidInput, LimitExceeded, NoCheckpoint } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { retentionLimits as limits } from "#core/retention/limits.ts";
import type { Site } from "#core/site.ts";
import { leaseAction, resolveCheckpoint } from "./checkpoints.ts";
import { items } from "./items.ts";
import { tryAgain } from "./try-again.ts";

const leasesSchema = z.object({
  leases: z.array(z.object({ leaseId: idSchema, checkpointId: z.string(), until: z.int() })),
});

/** What a reader asks to be kept while it reads. */
export interface LeaseAsk {
  readonly leaseId: Id;
  readonly checkpointId: string;
  /** The checkpoint is one that the commit of this operation left behind. */
  readonly lostTail?: Id | undefined;
}

/**
 * Keeps a listed checkpoint (invariant 9) for `leaseMs` from now; the same ask again renews it. Answers when it ends, by the site's
 * clock. Throws `NoCheckpoint` when retention has let it go or is about to, `LimitExceeded` when the VPG has `leasesMax`,
 * `InvalidInput` for a lease of another checkpoint.
 */
export async function takeLease(site: Site, vpgId: Id, ask: LeaseAsk): Promise<{ readonly until: number }> {
  const { leaseId, checkpointId, lostTail } = ask;
  return tryAgain(`leases of ${vpgId}`, async () => {
    await resolveCheckpoint(site, vpgId, { kind: "id", id: checkpointId }, lostTail);
    const { live, write } = await openLeases(site, vpgId);
    const others = live.filter((lease) => lease.leaseId !== leaseId);
    if (live.some((lease) => lease.leaseId === leaseId && lease.checkpointId !== checkpointId)) {
      throw new InvalidInput(`lease ${leaseId} is of another checkpoint`, { field: "checkpoint" });
    }
    if (others.length >= limits.leasesMax) {
      throw new LimitExceeded(`${limits.leasesMax} views of this VPG are open; close one, or wait until one ends`, {
        leasesMax: limits.leasesMax,
      });
    }
    const until = site.clock.now() + limits.leaseMs;
    const lease = await leaseAction(site, vpgId, checkpointId, leaseId, until);
    await site.table.transact([write([...others, { leaseId, checkpointId, until }]), ...lease]);
    return { until };
  });
}

/** Ends a lease; one that isn't there has ended. */
export async function releaseLease(site: Site, vpgId: Id, leaseId: Id): Promise<void> {
  await tryAgain(`leases of ${vpgId}`, async () => {
    const { live, write } = await openLeases(site, vpgId);
    const own = live.find((lease) => lease.leaseId === leaseId);
    if (own === undefined) return;
    const freed = await leaseAction(site, vpgId, own.checkpointId, leaseId, null).catch((error: unknown) => {
      if (error instanceof NoCheckpoint) return [];
      throw error;
    });
    await site.table.transact([write(live.filter((lease) => lease !== own)), ...freed]);
  });
}

type Leases = z.infer<typeof leasesSchema>["leases"];

/** Those that have not ended, and the write that puts others in their place if nobody came between. */
async function openLeases(
  site: Site,
  vpgId: Id,
): Promise<{ readonly live: Leases; readonly write: (leases: Leases) => TableAction }> {
  const key = items.leases(vpgId);
  const item = await site.table.get(key);
  const known = item === undefined ? [] : checkStored(leasesSchema, item.fields, `item ${item.pk}`).leases;
  return {
    live: known.filter(({ until }) => until > site.clock.now()),
    write: (leases) => ({
      put: key,
      fields: tableFields({ leases }),
      if: item === undefined ? { absent: true } : { rev: item.rev },
    }),
  };
}
