import { z } from "zod";
import { OperationInProgress } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { operationKinds } from "./operation.ts";
import type { VpgRecord } from "./vpg-record.ts";

/**
 * A live operation that holds its VPG though it is not under way: it began and the bucket knows nothing of its end, since it was open
 * when the site's table was lost; or it failed with its volumes attached. Either way its recovered VMs may run.
 */
export const forgottenSchema = z.strictObject({
  operationId: idSchema,
  kind: z.enum(operationKinds),
  /** The newest that began. */
  attempt: z.int().min(1),
  startedAt: z.int(),
  /** An attempt before it has a report, so the site has the operation as that one left it. */
  known: z.boolean(),
  /** It failed with its volumes attached; the table was never lost. */
  failed: z.literal(true).exactOptional(),
});
export type Forgotten = z.infer<typeof forgottenSchema>;

/** What it is, and what ends it: for people. */
export function forgottenText({ definition: { name }, role }: VpgRecord, forgotten: Forgotten): string {
  const { operationId, kind, startedAt, known, failed } = forgotten;
  const resume = known ? `farshore operation retry ${operationId}` : `farshore move resume ${name}`;
  // Of a committed one the source is closed for good, and nothing of it is left to be proved.
  const goOn = known || (kind === "move" && role === "Journal") ? `${resume} goes on with it; or ` : "";
  const why = failed ? "failed with its volumes attached" : "was open when this site's table was lost";
  return (
    `${kind} ${operationId}, begun ${new Date(startedAt).toISOString()}, ${why}: its recovered VMs ` +
    `may run. ${goOn}see that nothing of it runs or is exported any more, then farshore operation forget ${operationId}`
  );
}

/**
 * What could bring up a second copy, or take away what the first one reads, waits until it is known what became of the forgotten
 * operation. Throws `OperationInProgress`; not for the one that is being gone on with.
 */
export function assertNoneForgotten(vpg: VpgRecord, goesOn?: Id): void {
  const other = vpg.forgotten.find(({ operationId }) => operationId !== goesOn);
  if (other === undefined) return;
  throw new OperationInProgress(`${vpg.definition.name}: ${forgottenText(vpg, other)}`, {
    operationId: other.operationId,
  });
}
