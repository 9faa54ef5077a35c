import type { Id } from "#core/ids.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { readEvent } from "./event.ts";
import { putWatch, readWatch } from "./store.ts";
import { type Hint, withHint } from "./watch.ts";

/** Names of the VPGs that an event was noted on; empty when it concerns none here or says that nothing is wrong. */
export interface Received {
  readonly eventId: string;
  readonly vpgs: readonly string[];
}

/**
 * Takes an event: it raises suspicion of the VPGs that it concerns, and starts nothing. The same event again changes nothing.
 * Throws `InvalidInput` for one that can't be read or that nobody here understands.
 */
export async function receiveEvent(site: Site, value: unknown): Promise<Received> {
  const at = site.clock.now();
  const { eventId, kind, source, reason, trouble, concerns } = readEvent(value, at);
  const all = await listVpgs(site);
  const concerned = trouble
    ? all.filter(({ definition }) => definition.trigger.policy !== "off" && concerns(definition))
    : [];
  for (const { vpgId } of concerned) await note(site, vpgId, { eventId, kind, source, reason, at });
  const vpgs = concerned.map(({ definition }) => definition.name);
  site.log.info("event-received", { eventId, kind, source, reason, trouble, vpgs });
  return { eventId, vpgs };
}

function note(site: Site, vpgId: Id, hint: Hint): Promise<void> {
  return tryAgain(`the watch of ${vpgId}`, async () => {
    const { value: watch, unchanged } = await readWatch(site, vpgId);
    const noted = withHint(watch, hint);
    if (noted !== watch) await site.table.transact([putWatch(vpgId, noted, unchanged)]);
  });
}
