import { createHash } from "node:crypto";
import { Forbidden, Unauthenticated } from "#core/errors.ts";
import { authenticatePrincipal } from "#core/protection/principals.ts";
import { authenticateToken } from "#core/protection/tokens.ts";
import type { Caller, Site } from "#core/site.ts";
import type { HttpEvent } from "./http.ts";
import { httpLimits } from "./limits.ts";
import type { Host } from "./site.ts";

/** Gateways that were looked up lately: a batch must not cost a read. */
const seen = new WeakMap<Site, Map<string, { readonly caller: Caller; readonly until: number }>>();

/**
 * Who calls, in the one way that the host has: by the bearer token of the Authorization header, or by the IAM identity that the
 * function URL found the signature to be of. What the body, the path or another header says is never believed. Throws `Unauthenticated`.
 */
export async function authenticate({ site, authentication }: Host, event: HttpEvent): Promise<Caller> {
  if (authentication.kind === "token") {
    const token = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(event.headers["authorization"] ?? "")?.[1];
    if (token === undefined) {
      throw new Unauthenticated("this needs a token: --token or FARSHORE_TOKEN, sent as Authorization: Bearer");
    }
    const name = createHash("sha256").update(token).digest("base64");
    return remembered(site, name, () => authenticateToken(site, token));
  }
  const userArn = event.requestContext.authorizer?.iam?.userArn;
  if (userArn === undefined) throw new Unauthenticated("this needs a request that is signed with AWS credentials");
  return remembered(site, userArn, () => authenticatePrincipal(site, userArn, authentication.operatorArns));
}

/** People lose their access at once when it is taken; a gateway's may last a little longer, its sessions fence it. */
async function remembered(site: Site, name: string, lookUp: () => Promise<Caller>): Promise<Caller> {
  const known = seen.get(site) ?? new Map();
  seen.set(site, known);
  const now = site.clock.monotonic();
  const recent = known.get(name);
  if (recent !== undefined && now < recent.until) return recent.caller;
  known.delete(name);
  const caller = await lookUp();
  if (caller.role === "gateway") known.set(name, { caller, until: now + httpLimits.callerRememberedMs });
  const oldest = known.keys().next();
  if (known.size > httpLimits.callersRemembered && !oldest.done) known.delete(oldest.value);
  return caller;
}

/** The least role that may do something. Everybody but a gateway and a peer is a viewer too; who operates does not approve: two people. */
export type LeastRole = "viewer" | "operator" | "approver" | "gateway" | "peer";

const allowed: Readonly<Record<LeastRole, readonly Caller["role"][]>> = {
  viewer: ["viewer", "approver", "operator"],
  operator: ["operator"],
  approver: ["approver"],
  gateway: ["gateway"],
  peer: ["peer"],
};

/** Throws `Forbidden`. */
export function assertRole(caller: Caller, least: LeastRole): void {
  if (allowed[least].includes(caller.role)) return;
  throw new Forbidden(
    `${caller.role === "operator" || caller.role === "approver" ? "an" : "a"} ${caller.role} may not do this; it takes ${least === "gateway" || least === "peer" ? `a ${least}` : `the role ${least}`}`,
    {
      role: caller.role,
      needed: least,
    },
  );
}
