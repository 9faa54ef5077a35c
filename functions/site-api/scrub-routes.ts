import { getVpg } from "#core/protection/vpg-store.ts";
import { askJournalRound } from "#core/scrub/scrub-journals.ts";
import { scrubReport } from "#core/scrub/view.ts";
import { callerText } from "#core/site.ts";
import { type HttpResult, json } from "../shared/http.ts";
import type { Call } from "../shared/router.ts";

export async function getScrub({ site, param }: Call): Promise<HttpResult> {
  const { vpgId, definition } = await getVpg(site, param("ref"));
  return json(await scrubReport(site, vpgId, definition.scrub));
}

/** A round begins now. */
export async function postScrub({ site, caller, param }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  const { vpgId, definition } = vpg;
  site.log.info("scrub-asked", { vpgId, initiatedBy: callerText(caller) });
  await askJournalRound(site, vpg);
  return json(await scrubReport(site, vpgId, definition.scrub), 202);
}
