import { createHash } from "node:crypto";
import { z } from "zod";
import { roles } from "#core/api/site-api.ts";
import { InvalidInput, Unauthenticated } from "#core/errors.ts";
import { type Id, idSchema, nameSchema, newId } from "#core/ids.ts";
import { checkStored, jsonBytes, tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { tryAgain } from "./try-again.ts";

/** What is kept of a token: never the token. The same in the table and in the bucket. */
export const tokenRecordSchema = z.strictObject({
  name: nameSchema,
  role: z.enum(roles),
  gatewayId: idSchema.nullable(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.int(),
  createdBy: z.string(),
});
export type TokenRecord = z.infer<typeof tokenRecordSchema>;

export interface NewToken {
  readonly name: string;
  readonly role: Caller["role"];
  readonly gatewayId: Id | null;
  /** Shown once, stored nowhere. */
  readonly token: string;
}

const prefix = "fst_";
const tokenPattern = /^fst_[A-Za-z0-9_-]{43}$/;

const sha256Hex = (token: string): string => createHash("sha256").update(token).digest("hex");

/**
 * A new token under a name. A name has one token: the one before ends, which is also the way out after a token was lost or
 * a gateway was cloned: a gateway keeps its identity, and its next start is accepted whatever session it last knew.
 * Throws `InvalidInput` when the name has another role.
 */
export async function createToken(
  site: Site,
  input: { readonly name: string; readonly role: Caller["role"] },
  caller: Caller,
): Promise<NewToken> {
  const token = prefix + Buffer.from(site.random.bytes(32)).toString("base64url");
  const record = await tryAgain(`the token ${input.name}`, () => replaceToken(site, input, caller, token));
  site.log.info("token-created", { name: input.name, role: input.role, initiatedBy: callerText(caller) });
  return { name: input.name, role: input.role, gatewayId: record.gatewayId, token };
}

async function replaceToken(
  site: Site,
  { name, role }: { readonly name: string; readonly role: Caller["role"] },
  caller: Caller,
  token: string,
): Promise<TokenRecord> {
  const named = await site.table.get(items.tokenName(name));
  const before = named && checkStored(tokenRecordSchema, named.fields, "a token's item");
  if (before !== undefined && before.role !== role) {
    throw new InvalidInput(`"${name}" is the name of a ${before.role}'s token; choose another`, { field: "name" });
  }
  // This call's own write, whose reply was lost.
  if (before?.sha256 === sha256Hex(token)) return before;
  const gatewayId = role === "gateway" ? (before?.gatewayId ?? newId(site.clock, site.random)) : null;
  const by = callerText(caller);
  const record = { name, role, gatewayId, sha256: sha256Hex(token), createdAt: site.clock.now(), createdBy: by };
  const condition = named === undefined ? ({ absent: true } as const) : { rev: named.rev };
  const actions: TableAction[] = [
    { put: items.tokenName(name), fields: tableFields(record), if: condition },
    ...tokenActions(record),
  ];
  if (before !== undefined) actions.push({ delete: items.token(before.sha256) });
  if (gatewayId !== null && before !== undefined)
    actions.push({ put: items.gatewayAdoption(gatewayId), fields: { by } });
  // Before the table: killed in between, a rebuild knows neither the new token, which nobody has, nor the one before; the other
  // way round it would bring back a token that had ended.
  await site.objects.put(bucketKeys.token(name), jsonBytes(record));
  await site.table.transact(actions);
  return record;
}

/** The items that make a token known, but for its name's; also what a rebuild writes. */
export function tokenActions(record: TokenRecord): TableAction[] {
  const { name, role, gatewayId } = record;
  const actions: TableAction[] = [{ put: items.token(record.sha256), fields: { name, role, gatewayId } }];
  if (gatewayId !== null) actions.push({ put: items.gatewayName(name), fields: { gatewayId } });
  return actions;
}

const callerSchema = z.object({ name: z.string(), role: z.enum(roles), gatewayId: idSchema.nullable() });

/** Whose token this is. Throws `Unauthenticated` for any other text; looked up by its hash, so nothing is compared byte by byte. */
export async function authenticateToken(site: Site, token: string): Promise<Caller> {
  const item = tokenPattern.test(token) ? await site.table.get(items.token(sha256Hex(token))) : undefined;
  if (item === undefined) {
    throw new Unauthenticated(
      "this token is not known here; farshore token create makes one (a new one of the same name ends the old)",
    );
  }
  return checkStored(callerSchema, item.fields, "a token's item");
}
