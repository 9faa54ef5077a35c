import { createHash } from "node:crypto";
import { Forbidden, Unauthenticated } from "#core/errors.ts";
import { authenticateToken } from "#core/protection/tokens.ts";
import type { Caller, Site } from "#core/site.ts";
import type { HttpEvent } from "./http.ts";
import { httpLimits } from "./limits.ts";

/** Gateways whose token was looked up lately: a batch must not cost a read. */
const seen = new WeakMap<Site, Map<string, { readonly caller: Caller; readonly until: number }>>();

/**
 * Who calls: by the bearer token of the Authorization header. What the body or path says about the caller is never believed.
 * Throws `Unauthenticated`.
 */
export async function authenticate(site: Site, event: HttpEvent): Promise<Caller> {
  const token = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(event.headers["authorization"] ?? "")?.[1];
  if (token === undefined) {
    throw new Unauthenticated("this needs a token: --token or FARSHORE_TOKEN, sent as Authorization: Bearer");
  }
  const known = seen.get(site) ?? new Map();
  seen.set(site, known);
  const name = createHash("sha256").update(token).digest("base64");
  const now = site.clock.monotonic();
  const recent = known.get(name);
  if (recent !== undefined && now < recent.until) return recent.caller;
  known.delete(name);
  const caller = await authenticateToken(site, token);
  // People's tokens end at once when they are replaced; a gateway's may last this little longer, its sessions fence it.
  if (caller.role === "gateway") known.set(name, { caller, until: now + httpLimits.tokenRememberedMs });
  const oldest = known.keys().next();
  if (known.size > httpLimits.tokensRemembered && !oldest.done) known.delete(oldest.value);
  return caller;
}

/** The least role that may do something; operator includes viewer and approver, approver includes viewer. */
export type LeastRole = "viewer" | "operator" | "gateway";

const allowed: Readonly<Record<LeastRole, readonly Caller["role"][]>> = {
  viewer: ["viewer", "approver", "operator"],
  operator: ["operator"],
  gateway: ["gateway"],
};

/** Throws `Forbidden`. */
export function assertRole(caller: Caller, least: LeastRole): void {
  if (allowed[least].includes(caller.role)) return;
  throw new Forbidden(
    `a ${caller.role}'s token may not do this; it takes ${least === "gateway" ? "a gateway" : `the role ${least}`}`,
    {
      role: caller.role,
      needed: least,
    },
  );
}
