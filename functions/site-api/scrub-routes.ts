import { newId } from "#core/ids.ts";
import { issueCommand } from "#core/protection/commands.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { askJournalRound } from "#core/scrub/scrub-journals.ts";
import { scrubReport } from "#core/scrub/view.ts";
import { callerText } from "#core/site.ts";
import { type HttpResult, json } from "../shared/http.ts";
import type { Call } from "../shared/router.ts";

export async function getScrub({ site, param }: Call): Promise<HttpResult> {
  return json(await scrubReport(site, await getVpg(site, param("ref"))));
}

/** A round begins now: of the journal here, of the disks at each source gateway that is heard within a minute. */
export async function postScrub({ site, caller, param }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  const { vpgId, definition, role } = vpg;
  const initiatedBy = callerText(caller);
  site.log.info("scrub-asked", { vpgId, initiatedBy });
  await askJournalRound(site, vpg);
  if (role === "Journal") {
    const body = { kind: "scrub-volumes", vpgId } as const;
    const request = newId(site.clock, site.random);
    for (const [index, { gatewayId }] of sourceGatewaysOf(definition).entries()) {
      const commandId = `${request}.scrub-${index}`;
      await issueCommand(site, gatewayId, { commandId, body, expiresInMs: limits.tagExpiryMs, initiatedBy });
    }
  }
  return json(await scrubReport(site, vpg), 202);
}
