import { z } from "zod";
import { roles, type TokenRole } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { idSchema, nameSchema, newId } from "#core/ids.ts";
import { checkStored, jsonBytes, tableFields } from "#core/json.ts";
import type { TableAction, TableCondition, TableItem, TableKey } from "#core/ports.ts";
import { type Caller, callerText, type Site } from "#core/site.ts";
import { items } from "./items.ts";
import { bucketKeys } from "./keys.ts";
import { tryAgain } from "./try-again.ts";

const common = {
  name: nameSchema,
  role: z.enum(roles),
  gatewayId: idSchema.nullable(),
  createdAt: z.int(),
  createdBy: z.string(),
};
/** How a caller is known: by a token, of which only the hash is kept, or by an IAM role or user. */
const proofSchemas = {
  token: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  iam: z.strictObject({ iamRole: z.string().startsWith("arn:") }),
};
export type Proof = z.infer<(typeof proofSchemas)["token"]> | z.infer<(typeof proofSchemas)["iam"]>;

/** Who a name stands for and how its holder is known. The same in the table and in the bucket. */
export const credentialSchema = z.union([proofSchemas.token.extend(common), proofSchemas.iam.extend(common)]);
export type Credential = z.infer<typeof credentialSchema>;

const callerSchema = z.object({ name: z.string(), role: z.enum(roles), gatewayId: idSchema.nullable() });

const keyOf = (proof: Proof): TableKey =>
  "sha256" in proof ? items.token(proof.sha256) : items.principal(proof.iamRole);

/**
 * Gives a name its proof. A name has one: the one before ends, which is also the way out after a token was lost or a gateway
 * was cloned: a gateway keeps its identity, and its next start is accepted whatever session it last knew. Throws
 * `InvalidInput` when the name has another role, or the proof is another name's.
 */
export async function giveCredential(
  site: Site,
  input: { readonly name: string; readonly role: TokenRole },
  proof: Proof,
  caller: Caller,
): Promise<Credential> {
  const credential = await tryAgain(`the name ${input.name}`, () => replace(site, input, proof, caller));
  const { name, role } = input;
  site.log.info("credential-given", {
    name,
    role,
    kind: "sha256" in proof ? "token" : "iam",
    initiatedBy: callerText(caller),
  });
  return credential;
}

async function replace(
  site: Site,
  { name, role }: { readonly name: string; readonly role: TokenRole },
  proof: Proof,
  caller: Caller,
): Promise<Credential> {
  const named = await site.table.get(items.tokenName(name));
  const before = named && checkStored(credentialSchema, named.fields, "a credential's item");
  if (before !== undefined && before.role !== role) {
    throw new InvalidInput(`"${name}" is the name of a ${before.role}; choose another`, { field: "name" });
  }
  const held = await site.table.get(keyOf(proof));
  const holder = held && callerOf(held);
  if (holder !== undefined && holder.name !== name) {
    throw new InvalidInput(`that IAM role is registered as "${holder.name}" already`, { field: "iamRole" });
  }
  // This call's own write, whose reply was lost: nobody else can have made the same token.
  if (holder !== undefined && before !== undefined && "sha256" in proof) return before;
  const gatewayId = role === "gateway" ? (before?.gatewayId ?? newId(site.clock, site.random)) : null;
  const by = callerText(caller);
  const credential = { ...proof, name, role, gatewayId, createdAt: site.clock.now(), createdBy: by };
  const actions: TableAction[] = [
    { put: items.tokenName(name), fields: tableFields(credential), if: unchanged(named) },
    // Two names that are given one role at once: one of them gets it.
    ...credentialActions(credential, unchanged(held)),
  ];
  if (before !== undefined && keyOf(before).sk !== keyOf(proof).sk) actions.push({ delete: keyOf(before) });
  if (gatewayId !== null && before !== undefined)
    actions.push({ put: items.gatewayAdoption(gatewayId), fields: { by } });
  // Before the table: killed in between, a rebuild knows the new proof, which opens nothing yet, and not the one before; the
  // other way round it would bring back a token that had ended.
  await site.objects.put(bucketKeys.token(name), jsonBytes(credential));
  await site.table.transact(actions);
  return credential;
}

/** The items that make a caller known, but for its name's, under a condition on the proof's; also what a rebuild writes. */
export function credentialActions(credential: Credential, condition?: TableCondition): TableAction[] {
  const { name, role, gatewayId } = credential;
  const put = { put: keyOf(credential), fields: { name, role, gatewayId } };
  const actions: TableAction[] = [condition === undefined ? put : { ...put, if: condition }];
  if (gatewayId !== null) actions.push({ put: items.gatewayName(name), fields: { gatewayId } });
  return actions;
}

/** Who is known by this; undefined when nobody is. Looked up by its own key, so nothing is compared byte by byte. */
export async function callerBy(site: Site, proof: Proof): Promise<Caller | undefined> {
  const item = await site.table.get(keyOf(proof));
  return item && callerOf(item);
}

const callerOf = ({ fields }: TableItem): Caller => checkStored(callerSchema, fields, "a credential's item");

const unchanged = (item: TableItem | undefined): TableCondition =>
  item === undefined ? { absent: true } : { rev: item.rev };
