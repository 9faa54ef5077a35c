import { z } from "zod";
import { type Id, idSchema } from "#core/ids.ts";
import { checkStored, tableFields } from "#core/json.ts";
import type { TableFields, TableItem } from "#core/ports.ts";
import { definitionSchema } from "./definition.ts";
import { forgottenSchema } from "./forgotten.ts";
import { protectionLimits as limits } from "./limits.ts";

/** What is stored of a VPG. Its status is a function of this and of what is seen (status.ts). */
export const vpgFieldsSchema = z.strictObject({
  definition: definitionSchema,
  term: z.int().min(1),
  role: z.enum(["Journal", "Runs", "Dark", "Preparing", "Retired"]),
  /** A live operation; only one at a time. */
  operationId: idSchema.nullable(),
  /** A delta-sync; only one at a time, and beside any other operation: it keeps nobody from failing over. */
  syncOperationId: idSchema.nullable().default(null),
  /** Rolled back operations that had shut the source down and found it silent: it is powered on when it is heard again. */
  powerOnDue: z.array(idSchema).max(limits.powerOnsDueMax).default([]),
  /** Open when the table was lost. No other begins while one is here, so there is never more than a few. */
  forgotten: z.array(forgottenSchema).default([]),
  openTests: z.array(idSchema).max(limits.testsMax),
  /** The newest session's ordinal, 0 before the first. */
  lastSession: z.int().min(0),
  /** Where several gateways open sessions, at once or one after the other, the newest one's ordinal of each. */
  gatewaySessions: z.record(idSchema, z.int().min(1)).exactOptional(),
  /** Nonces under which session `lastSession` + 1 may stand in the bucket: opens that were begun and not yet recorded. */
  opening: z.array(idSchema).max(limits.openingsMax),
  paused: z.boolean(),
  /** The journal has reached its limit and the policy is to pause: ingest refuses until it has room again. */
  journalFull: z.boolean().default(false),
  deleted: z.boolean(),
  needsConfiguration: z.boolean(),
  /** Of a peer's offer that was taken here, until its term has a journal (R16). */
  reverse: z
    .strictObject({
      n: z.int().min(1),
      operationId: idSchema,
      /** This site's gateways with the old disks. */
      gateways: z.array(idSchema).max(limits.sourceGatewaysMax),
      gatewayLost: z.boolean(),
      /** All of them have closed. */
      closed: z.boolean(),
      /** The term has begun: sessions of it are taken. */
      begun: z.boolean(),
      /** Of the commands that are under way. */
      attempt: z.int().min(1),
    })
    .exactOptional(),
  formatVersion: z.literal(1),
  createdAt: z.int(),
});
export type VpgFields = z.infer<typeof vpgFieldsSchema>;

export interface VpgRecord extends VpgFields {
  readonly vpgId: Id;
  /** Of the table item; every change is conditional on it. */
  readonly rev: number;
}

/** R16: sessions and batches are taken in a term that has its journal here, from its beginning on. */
export const takesSessions = ({ role, reverse }: Pick<VpgFields, "role" | "reverse">): boolean =>
  role === "Journal" || (role === "Preparing" && reverse?.begun === true);

/** The ordinal of the gateway's newest session, 0 before its first. */
export function lastSessionOf(vpg: Pick<VpgFields, "lastSession" | "gatewaySessions">, gatewayId: Id): number {
  return vpg.gatewaySessions === undefined ? vpg.lastSession : (vpg.gatewaySessions[gatewayId] ?? 0);
}

/** The fields that change when the gateway's session has been opened. */
export function sessionFields(
  { definition, lastSession, gatewaySessions }: Pick<VpgFields, "definition" | "lastSession" | "gatewaySessions">,
  { session, gatewayId }: { readonly session: number; readonly gatewayId: string },
): Pick<VpgFields, "lastSession"> & Partial<Pick<VpgFields, "gatewaySessions">> {
  const source = definition.sourceGatewayId;
  if (gatewaySessions === undefined && gatewayId === source) return { lastSession: session };
  const before = gatewaySessions ?? (lastSession === 0 ? {} : { [source]: lastSession });
  return { lastSession: session, gatewaySessions: { ...before, [gatewayId]: session } };
}

export function recordOf(item: TableItem): VpgRecord {
  const fields = checkStored(vpgFieldsSchema, item.fields, `item ${item.pk}`);
  return { ...fields, vpgId: fields.definition.vpgId, rev: item.rev };
}

export function fieldsOf(record: VpgFields): TableFields {
  const { definition, term, role, operationId, syncOperationId, openTests, lastSession, opening } = record;
  const { journalFull, powerOnDue, paused, deleted, needsConfiguration, formatVersion, createdAt } = record;
  const { gatewaySessions, reverse, forgotten } = record;
  return tableFields({
    ...(gatewaySessions === undefined ? {} : { gatewaySessions }),
    ...(reverse === undefined ? {} : { reverse }),
    ...{ definition, term, role, operationId, syncOperationId, openTests, lastSession, opening },
    ...(journalFull ? { journalFull } : {}),
    ...(forgotten.length > 0 ? { forgotten } : {}),
    ...{ powerOnDue, paused, deleted, needsConfiguration, formatVersion, createdAt },
  });
}
