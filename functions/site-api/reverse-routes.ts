import { InvalidInput } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { offerSchema, startedSchema } from "#core/protection/offer.ts";
import { hearStarted, hearWithdrawn, takeOffer } from "#core/protection/take-offer.ts";
import { bodyJson, type HttpResult, json } from "../shared/http.ts";
import { httpLimits } from "../shared/limits.ts";
import { type Call, wholeNumber } from "../shared/router.ts";

/** What a peer that runs a VPG says to the site that is to journal it (core/protection/offer.ts). */
export async function putOffer({ site, caller, event, param }: Call): Promise<HttpResult> {
  const offer = parseInput(offerSchema, bodyJson(event, httpLimits.jsonBytesMax));
  const vpgId = parseInput(idSchema, param("vpg"));
  if (offer.vpgId !== vpgId || offer.term.vpgId !== vpgId || offer.definition.vpgId !== vpgId) {
    throw new InvalidInput("the offer is of another VPG than the path", { field: "vpgId" });
  }
  return json(await takeOffer(site, caller, offer));
}

export async function postStarted({ site, caller, event, param }: Call): Promise<HttpResult> {
  const { n } = parseInput(startedSchema, bodyJson(event, httpLimits.jsonBytesMax));
  return json(await hearStarted(site, caller, parseInput(idSchema, param("vpg")), n));
}

export async function deleteOffer({ site, caller, param, query }: Call): Promise<HttpResult> {
  const { n } = parseInput(startedSchema, { n: wholeNumber(query.get("n") ?? "", "n") });
  return json(await hearWithdrawn(site, caller, parseInput(idSchema, param("vpg")), n));
}
