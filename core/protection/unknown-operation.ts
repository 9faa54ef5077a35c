import { type Id, idSchema } from "#core/ids.ts";
import { operationPrefix, parseOperationKey } from "#core/journal/keys.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";
import type { VpgRecord } from "./vpg-record.ts";

/**
 * A live operation of which the bucket says that it began, or was tried again, and the table knows nothing: the table was restored from
 * a copy of before. Looked for among the newest `operationsComparedMax` by id, which is by time; an operation is in the table before
 * its object is made, and no item of one is ever deleted. One that is held as forgotten, or that a person declared to be over, is known.
 */
export async function unknownOperation(
  site: Pick<Site, "objects" | "table">,
  { vpgId, forgotten }: Pick<VpgRecord, "vpgId" | "forgotten">,
): Promise<Id | undefined> {
  const begun = new Map<Id, number>();
  const known = new Map<Id, number>(forgotten.map(({ operationId, attempt }) => [operationId, attempt]));
  // In the order of their names the attempts of an operation rise.
  for await (const { key } of listAll(site.objects, operationPrefix(vpgId))) {
    const place = parseOperationKey(key);
    if (place === undefined) continue;
    const operationId = idSchema.parse(place.operationId);
    (place.forgotten ? known : begun).set(operationId, place.attempt);
  }
  const newest = [...begun].sort(([one], [other]) => (one < other ? 1 : -1)).slice(0, limits.operationsComparedMax);
  for (const [operationId, attempt] of newest) {
    if ((known.get(operationId) ?? 0) >= attempt) continue;
    const item = await site.table.get(items.operation(operationId));
    if (Number(item?.fields["attempt"] ?? 0) < attempt) return operationId;
  }
  return undefined;
}
