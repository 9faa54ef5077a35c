import { InvalidInput } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import type { PeerRequest } from "#core/ports.ts";
import { offerSchema, startedSchema } from "#core/protection/offer.ts";
import { hearStarted, hearWithdrawn, takeOffer } from "#core/protection/take-offer.ts";
import type { Caller, Site } from "#core/site.ts";

/** What a peer's request does at a site, without HTTP; body and answer go over as JSON. */
export async function invokePeerRoute(
  site: Site,
  caller: Caller,
  { method, path, body }: PeerRequest,
): Promise<unknown> {
  const [, vpg = "", rest = ""] = /^\/v1\/vpgs\/([^/]+)\/reverse-offer(.*)$/.exec(path) ?? [];
  const vpgId = idSchema.parse(vpg);
  const sent: unknown = JSON.parse(JSON.stringify(body ?? null));
  const answer = async () => {
    if (method === "PUT") return takeOffer(site, caller, parseInput(offerSchema, sent));
    if (method === "POST") return hearStarted(site, caller, vpgId, parseInput(startedSchema, sent).n);
    const n = Number(/^\?n=(\d+)$/.exec(rest)?.[1]);
    if (Number.isNaN(n)) throw new InvalidInput(`no number in ${path}`);
    return hearWithdrawn(site, caller, vpgId, n);
  };
  return JSON.parse(JSON.stringify(await answer()));
}
