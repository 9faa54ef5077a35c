import { z } from "zod";
import { Transient } from "#core/errors.ts";
import { checkStored } from "#core/json.ts";
import type { SourceGateway } from "#core/protection/definition.ts";
import { findGateway } from "#core/protection/gateway-store.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";
import { recoveryLimits } from "./limits.ts";

const beganSchema = z.object({ at: z.int() });

/** For a site in one process, when it begins: what it doesn't hear at first is no silence. */
export async function noteBegan({ table, clock }: Pick<Site, "table" | "clock">): Promise<void> {
  await table.transact([{ put: items.siteBegan(), fields: { at: clock.now() } }]);
}

/**
 * Nothing is concluded from the silence of gateways that a site which has begun did not hear since: it gives them `hearAgainMs`. Throws
 * `Transient`, which a workflow's state tries again for longer than that. One that was heard since is silent, and a site without a
 * process of its own never was away.
 */
export async function assertListened(site: Site, silent: readonly SourceGateway[]): Promise<void> {
  if (silent.length === 0) return;
  const item = await site.table.get(items.siteBegan());
  if (item === undefined) return;
  const { at } = checkStored(beganSchema, item.fields, "the site's beginning");
  const sinceMs = site.clock.now() - at;
  // A clock that was set back must not make anybody wait longer than that.
  if (sinceMs < 0 || sinceMs >= recoveryLimits.hearAgainMs) return;
  for (const { gatewayId, name } of silent) {
    const gateway = await findGateway(site, gatewayId);
    if (gateway !== undefined && gateway.lastSeenAt >= at) continue;
    throw new Transient(`gateway ${name} was not heard yet since this site began`, { gateway: name });
  }
}
