import { z } from "zod";
import { Transient } from "#core/errors.ts";
import { checkStored } from "#core/json.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";
import { recoveryLimits } from "./limits.ts";

const beganSchema = z.object({ at: z.int() });

/** For a site in one process, when it begins: what it doesn't hear at first is no silence. */
export async function noteBegan({ table, clock }: Pick<Site, "table" | "clock">): Promise<void> {
  await table.transact([{ put: items.siteBegan(), fields: { at: clock.now() } }]);
}

/**
 * Nothing is concluded from the silence of these gateways before a site that has begun gave them `hearAgainMs` to be heard. Throws
 * `Transient`, which a workflow's state tries again for longer than that. A site without a process of its own never was away.
 */
export async function assertListened(
  { table, clock }: Pick<Site, "table" | "clock">,
  silent: readonly string[],
): Promise<void> {
  if (silent.length === 0) return;
  const item = await table.get(items.siteBegan());
  if (item === undefined) return;
  const sinceMs = clock.now() - checkStored(beganSchema, item.fields, "the site's beginning").at;
  // A clock that was set back must not make anybody wait longer than that.
  if (sinceMs < 0 || sinceMs >= recoveryLimits.hearAgainMs) return;
  throw new Transient(`gateway ${silent.join(", ")} was not heard yet since this site began`);
}
