import type { TokenRole } from "#core/api/site-api.ts";
import { InvalidInput, Unauthenticated } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Caller, Site } from "#core/site.ts";
import { callerBy, giveCredential } from "./credentials.ts";

/** An IAM role or user as requests and registrations both name it. */
export interface Principal {
  /** `arn:aws:iam::<account>:role/<name>`: a role without its path, which the ARN of its sessions doesn't have. */
  readonly arn: string;
  /** What the role's session is called, which for people is mostly their own name. */
  readonly session: string | undefined;
}

const assumedRole = /^arn:(aws[a-z-]*):sts::(\d{12}):assumed-role\/([\w+=,.@-]{1,64})\/([\w+=,.@-]{1,64})$/;
const role = /^arn:(aws[a-z-]*):iam::(\d{12}):role\/(?:[\x21-\x7e]{1,510}\/)?([\w+=,.@-]{1,64})$/;
const userOrRoot = /^arn:aws[a-z-]*:iam::\d{12}:(?:user\/[\x21-\x7e]{1,576}|root)$/;

/** Undefined for anything but the ARN of a role, a role's session, a user or an account's root. */
export function parsePrincipal(arn: string): Principal | undefined {
  const assumed = assumedRole.exec(arn);
  if (assumed !== null) return { arn: roleArn(assumed), session: assumed[4] };
  const named = role.exec(arn);
  if (named !== null) return { arn: roleArn(named), session: undefined };
  return userOrRoot.test(arn) ? { arn, session: undefined } : undefined;
}

/** Names of roles are unique in an account whatever their paths, so the path may be left out. */
const roleArn = ([, partition, account, name]: readonly string[]): string =>
  `arn:${partition}:iam::${account}:role/${name}`;

export interface NewPrincipal {
  readonly name: string;
  readonly role: TokenRole;
  readonly gatewayId: Id | null;
  readonly iamRole: string;
}

/** Makes an IAM role or user known under a name, in place of the name's proof before (`giveCredential`). Throws `InvalidInput`. */
export async function registerPrincipal(
  site: Site,
  input: { readonly name: string; readonly role: TokenRole; readonly iamRole: string },
  caller: Caller,
): Promise<NewPrincipal> {
  const arn = parsePrincipal(input.iamRole)?.arn;
  if (arn === undefined) {
    const given = input.iamRole.slice(0, 200);
    throw new InvalidInput(`"${given}" is not the ARN of an IAM role or user`, { field: "iamRole" });
  }
  const { gatewayId } = await giveCredential(site, input, { iamRole: arn }, caller);
  return { name: input.name, role: input.role, gatewayId, iamRole: arn };
}

/**
 * Who signed a request, by the ARN that AWS vouches for. `operatorArns` are operators by the site's configuration. A person's
 * session name goes into what is recorded of them: many share one role. Throws `Unauthenticated`.
 */
export async function authenticatePrincipal(
  site: Site,
  userArn: string,
  operatorArns: readonly string[],
): Promise<Caller> {
  const principal = parsePrincipal(userArn);
  if (principal === undefined) {
    throw new Unauthenticated(
      `${userArn.slice(0, 200)} is no IAM role or user; callers of a site are roles, best, or users`,
    );
  }
  const { arn, session } = principal;
  const configured = operatorArns.some((operator) => parsePrincipal(operator)?.arn === arn);
  const nameInArn = arn.split(/[/:]/).at(-1) ?? arn;
  const caller: Caller | undefined = configured
    ? { name: nameInArn, role: "operator", gatewayId: null }
    : await callerBy(site, { iamRole: arn });
  if (caller === undefined) {
    throw new Unauthenticated(
      `${arn} is not known here; an operator makes it known: farshore token create --role ROLE --name NAME --iam-role ${arn}`,
    );
  }
  return caller.gatewayId !== null || session === undefined ? caller : { ...caller, name: `${caller.name}/${session}` };
}
