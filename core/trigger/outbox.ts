import { z } from "zod";
import { checkStored } from "#core/json.ts";
import { items } from "#core/protection/items.ts";
import type { Site } from "#core/site.ts";
import { noticeKinds } from "./incident.ts";
import { triggerLimits as limits } from "./limits.ts";

const rowSchema = z.strictObject({
  incidentId: z.string(),
  vpgName: z.string(),
  kind: z.enum(noticeKinds),
  text: z.string(),
});

/** Delivers what people were not told yet, oldest first. What isn't taken stays for the next time; a kill may tell it twice. */
export async function tellPeople(site: Site): Promise<void> {
  const { items: rows } = await site.table.query(items.notice("").pk, { limit: limits.noticesPerLook });
  for (const { sk: noticeId, fields } of rows) {
    const notice = checkStored(rowSchema, fields, `notice ${noticeId}`);
    await site.notify.publish({ noticeId, siteName: site.siteName, ...notice });
    await site.table.transact([{ delete: items.notice(noticeId) }]);
  }
}
