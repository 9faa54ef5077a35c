import type { OperationView } from "#core/api/site-api.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { findDecision } from "./decide.ts";
import { executionName, findOperation, getOperation, type OperationRecord } from "./operation-store.ts";

/** Operations a listing shows at most, the newest ones. */
const listedMost = 200;

/** An operation as people see it: with its decision and its execution, without its tokens. Throws `NotFound`. */
export async function operationView(site: Site, operationId: Id): Promise<OperationView> {
  return viewOf(site, await getOperation(site, operationId));
}

async function viewOf(site: Site, record: OperationRecord): Promise<OperationView> {
  const { tokens: _tokens, rev: _rev, ...operation } = record;
  const execution = await site.workflows.describe(record.kind, executionName(record));
  return {
    ...operation,
    decision: (await findDecision(site, operation.operationId)) ?? null,
    executionStatus: execution?.status ?? null,
  };
}

/** Operations, newest first; of one VPG, or only those under way. */
export async function listOperations(
  site: Site,
  filter: { readonly vpgId?: Id; readonly open?: boolean } = {},
): Promise<readonly OperationView[]> {
  const views: OperationView[] = [];
  for await (const record of operationsOf(site, filter)) {
    views.push(await viewOf(site, record));
    if (views.length === listedMost) break;
  }
  return views;
}

/** The records of operations, newest first; of one VPG, or only those under way. */
export async function* operationsOf(
  site: Site,
  filter: { readonly vpgId?: Id; readonly open?: boolean },
): AsyncGenerator<OperationRecord> {
  let cursor: string | undefined;
  do {
    const page = await site.table.query(
      "operations",
      cursor === undefined ? { reverse: true } : { reverse: true, cursor },
    );
    for (const item of page.items) {
      if (filter.vpgId !== undefined && item.fields["vpgId"] !== filter.vpgId) continue;
      if (filter.open !== undefined && item.fields["open"] !== filter.open) continue;
      const record = await findOperation(site, idSchema.parse(item.sk));
      if (record !== undefined) yield record;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
}
