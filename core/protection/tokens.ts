import { createHash } from "node:crypto";
import type { TokenRole } from "#core/api/site-api.ts";
import { Unauthenticated } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Caller, Site } from "#core/site.ts";
import { callerBy, giveCredential } from "./credentials.ts";

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

/** A new token under a name; the name's token or IAM role before ends (`giveCredential`). Throws `InvalidInput`. */
export async function createToken(
  site: Site,
  input: { readonly name: string; readonly role: TokenRole },
  caller: Caller,
): Promise<NewToken> {
  const token = prefix + Buffer.from(site.random.bytes(32)).toString("base64url");
  const { gatewayId } = await giveCredential(site, input, { sha256: sha256Hex(token) }, caller);
  return { name: input.name, role: input.role, gatewayId, token };
}

/** Whose token this is. Throws `Unauthenticated` for any other text. */
export async function authenticateToken(site: Site, token: string): Promise<Caller> {
  const caller = tokenPattern.test(token) ? await callerBy(site, { sha256: sha256Hex(token) }) : undefined;
  if (caller !== undefined) return caller;
  throw new Unauthenticated(
    "this token is not known here; farshore token create makes one (a new one of the same name ends the old)",
  );
}
