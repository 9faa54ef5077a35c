import { z } from "zod";

/**
 * The part of IAM's evaluation that a site's policies use, over synthesized policies: an explicit deny wins, otherwise one allow is
 * needed, of the identity's policies or of the resource's (both are of one account here). What it doesn't know, it throws.
 */
export interface AccessRequest {
  /** The caller's ARN. */
  readonly principal: string;
  readonly action: string;
  readonly resource: string;
  /** Condition keys that the request has, such as `s3:if-none-match`. */
  readonly context?: Readonly<Record<string, string>>;
}

const many = z.union([z.string().transform((one) => [one]), z.array(z.string())]);
const values = z.union([z.number().transform((one) => [String(one)]), many]);
const principal = z.union([
  z.literal("*").transform(() => ({ AWS: ["*"], Service: undefined })),
  z.object({ AWS: many.optional(), Service: many.optional() }),
]);
export const statementSchema = z.strictObject({
  Sid: z.string().optional(),
  Effect: z.enum(["Allow", "Deny"]),
  Principal: principal.optional(),
  Action: many.optional(),
  NotAction: many.optional(),
  Resource: many.optional(),
  NotResource: many.optional(),
  Condition: z.record(z.string(), z.record(z.string(), values)).optional(),
});
export type Statement = z.infer<typeof statementSchema>;

export interface Decision {
  readonly allowed: boolean;
  /** The statement that decided; none when nothing allows it. */
  readonly by: Statement | undefined;
}

/** Requests are over TLS 1.3 unless they say otherwise. */
const usual = { "aws:SecureTransport": "true", "s3:TlsVersion": "1.3" };

export function decideAccess(
  request: AccessRequest,
  policies: { readonly identity: readonly Statement[]; readonly resource: readonly Statement[] },
): Decision {
  const resource = policies.resource.filter((statement) => isPrincipal(statement, request.principal));
  const matching = [...policies.identity, ...resource].filter((statement) => matches(statement, request));
  const denies = matching.find(({ Effect }) => Effect === "Deny");
  if (denies !== undefined) return { allowed: false, by: denies };
  const allows = matching.find(({ Effect }) => Effect === "Allow");
  return { allowed: allows !== undefined, by: allows };
}

function isPrincipal({ Principal }: Statement, caller: string): boolean {
  const [, , , , account = ""] = caller.split(":");
  const named = Principal?.AWS ?? [];
  return named.some(
    (one) => one === "*" || one === caller || one === `arn:aws:iam::${account}:root` || one === account,
  );
}

function matches(statement: Statement, { principal, action, resource, context }: AccessRequest): boolean {
  const { Action, NotAction, Resource, NotResource, Condition = {} } = statement;
  const actionFits = NotAction === undefined ? fits(Action, action, "i") : !fits(NotAction, action, "i");
  const resourceFits = NotResource === undefined ? fits(Resource, resource) : !fits(NotResource, resource);
  if (!actionFits || !resourceFits) return false;
  const keys = { ...usual, "aws:PrincipalArn": principal, ...context };
  return Object.entries(Condition).every(([operator, tests]) =>
    Object.entries(tests).every(([key, wanted]) => holds(operator, keysOf(keys).get(key.toLowerCase()), wanted)),
  );
}

const keysOf = (keys: Readonly<Record<string, string>>): ReadonlyMap<string, string> =>
  new Map(Object.entries(keys).map(([key, value]) => [key.toLowerCase(), value]));

function fits(patterns: readonly string[] | undefined, value: string, flags = ""): boolean {
  return (patterns ?? []).some((pattern) => wildcard(pattern, flags).test(value));
}

function wildcard(pattern: string, flags = ""): RegExp {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, flags);
}

/** A key that the request doesn't have fulfils nothing but Null. */
function holds(operator: string, value: string | undefined, wanted: readonly string[]): boolean {
  if (operator === "Null") return wanted.includes(String(value === undefined));
  if (value === undefined) return false;
  switch (operator) {
    case "Bool":
    case "StringEquals":
    case "ArnEquals":
      return wanted.includes(value);
    case "ArnNotEquals":
      return !wanted.includes(value);
    case "StringLike":
    case "ArnLike":
      return wanted.some((pattern) => wildcard(pattern).test(value));
    case "NumericLessThan":
      return wanted.some((limit) => Number(value) < Number(limit));
    default:
      throw new TypeError(`this evaluation does not know the condition operator ${operator}`);
  }
}
