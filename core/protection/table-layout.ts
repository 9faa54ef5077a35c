import { z } from "zod";
import { ConditionFailed, TableBehindBucket } from "#core/errors.ts";
import { checkStored } from "#core/json.ts";
import type { Clock, Objects, Random, Table } from "#core/ports.ts";
import { claimIdentity, findIdentity, type SiteIdentity } from "./identity.ts";
import { items } from "./items.ts";

/**
 * Where items stand and what they hold, as a number: raised by whoever changes that so that a table of before would be misread.
 * The bucket is the truth, so there is nothing to convert: such a table is refused, and made again.
 */
export const tableLayout = 1;

const fieldsSchema = z.object({ layout: z.int() });

/**
 * What every opening of a site begins with: its identity, and a table that this code can read. A bucket that no site has served yet
 * has its table marked before it gets its identity, so that any opening may be cut off. Throws `InvalidInput` for another name than
 * the first, `TableBehindBucket` for a table of another layout and for one that was lost.
 */
export async function claimSite(
  { objects, table }: { readonly objects: Objects; readonly table: Table },
  name: string,
  ports: { readonly clock: Clock; readonly random: Random },
): Promise<SiteIdentity> {
  let layout = await layoutOf(table);
  if (layout === undefined) {
    if ((await findIdentity(objects)) === undefined) await markTable(table);
    // Somebody who opened the new site at the same time may have marked it.
    layout = await layoutOf(table);
  }
  if (layout !== tableLayout) throw unreadable(layout);
  return claimIdentity(objects, name, ports);
}

/** Says that the table is whole and of this layout: the last thing that is written to one that is made again. */
export async function markTable(table: Table): Promise<void> {
  try {
    await table.transact([{ put: items.site(), fields: { layout: tableLayout }, if: { absent: true } }]);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
  }
}

async function layoutOf(table: Table): Promise<number | undefined> {
  const item = await table.get(items.site());
  return item && checkStored(fieldsSchema, item.fields, "the site's item").layout;
}

function unreadable(layout: number | undefined): TableBehindBucket {
  const what =
    layout === undefined
      ? "the table was lost, not made whole, or written by an older version of Farshore"
      : `the table has layout ${layout}, this version of Farshore reads ${tableLayout}`;
  return new TableBehindBucket(
    `${what}. The bucket has everything: stop the site, run farshore site rebuild, start it.`,
    { layout: layout ?? 0, expected: tableLayout },
  );
}
