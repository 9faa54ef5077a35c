import { z } from "zod";
import { roles, type TokenRole } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { idSchema, nameSchema, newId } from "#core/ids.ts";
import { checkStored, jsonBytes, tableFields } from "#core/json.ts";
import type { TableAction, TableKey } from "#core/ports.ts";
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
  const holder = await callerBy(site, proof);
  if (holder !== undefined && holder.name !== name) {
    throw new InvalidInput(`that IAM role is registered as "${holder.name}" already`, { field: "iamRole" });
  }
  // This call's own write, whose reply was lost: nobody else can have made the same token.
  if (holder !== undefined && before !== undefined && "sha256" in proof) return before;
  const gatewayId = role === "gateway" ? (before?.gatewayId ?? newId(site.clock, site.random)) : null;
  const by = callerText(caller);
  const credential = { ...proof, name, role, gatewayId, createdAt: site.clock.now(), createdBy: by };
  const condition = named === undefined ? ({ absent: true } as const) : { rev: named.rev };
  const actions: TableAction[] = [
    { put: items.tokenName(name), fields: tableFields(credential), if: condition },
    ...credentialActions(credential),
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

/** The items that make a caller known, but for its name's; also what a rebuild writes. */
export function credentialActions(credential: Credential): TableAction[] {
  const { name, role, gatewayId } = credential;
  const actions: TableAction[] = [{ put: keyOf(credential), fields: { name, role, gatewayId } }];
  if (gatewayId !== null) actions.push({ put: items.gatewayName(name), fields: { gatewayId } });
  return actions;
}

/** Who is known by this; undefined when nobody is. Looked up by its own key, so nothing is compared byte by byte. */
export async function callerBy(site: Site, proof: Proof): Promise<Caller | undefined> {
  const item = await site.table.get(keyOf(proof));
  return item && checkStored(callerSchema, item.fields, "a credential's item");
}
