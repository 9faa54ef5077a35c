import { z } from "zod";
import type { Id } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import { operationKinds, phases } from "./operation.ts";

const phaseSchema = z.object({
  kind: z.enum(operationKinds),
  phase: z.enum(phases),
  steps: z.record(z.string(), z.unknown()).default({}),
});

export type SeenPhase = z.infer<typeof phaseSchema> & { readonly rev: number };

/** Where an operation stands, without the rest of its record. */
export async function findPhase(site: Site, operationId: Id): Promise<SeenPhase | undefined> {
  const item = await site.table.get(items.operation(operationId));
  return item && { ...checkStored(phaseSchema, item.fields, `operation ${operationId}`), rev: item.rev };
}
