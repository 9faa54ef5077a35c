import { Forbidden, InvalidInput } from "#core/errors.ts";

/** How a client of a site shows who it is; a plain value, which a worker thread can be given. */
export type SiteAccess =
  | { readonly kind: "token"; readonly token: string }
  /** Every request is signed with the AWS credentials that the SDK finds (variables, profile, instance role). */
  | { readonly kind: "iam"; readonly region: string };

export type IamAccess = Extract<SiteAccess, { readonly kind: "iam" }>;

export type AuthKind = SiteAccess["kind"];

/** A request as a client means it; the URL has the path and the query. */
export interface SiteRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | undefined;
}

/** The same as it is sent. */
export interface AuthorizedRequest {
  readonly url: string;
  readonly headers: Record<string, string>;
}

const functionUrl = /^[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws(\.cn)?(:\d+)?$/;

/** The region of a function URL; undefined for any other. */
export function regionOf(url: string): string | undefined {
  return URL.canParse(url) ? functionUrl.exec(new URL(url).host)?.[1] : undefined;
}

/** What to show to a site: a signature to the function URL of an AWS site, a token to every other, unless `auth` says which. */
export function authOf(siteUrl: string, auth: AuthKind | undefined): AuthKind {
  return auth ?? (regionOf(siteUrl) === undefined ? "token" : "iam");
}

/** The access of a caller by IAM. `region` is for URLs that don't say theirs. Throws `InvalidInput` when neither says it. */
export function iamAccess(siteUrl: string, region: string | undefined): IamAccess {
  const found = regionOf(siteUrl) ?? region;
  if (found === undefined || found === "")
    throw new InvalidInput(`requests to ${siteUrl} are signed for a region: set AWS_REGION to the site's`);
  return { kind: "iam", region: found };
}

/**
 * What AWS says of a signed request that it didn't let through to the site; undefined for any other answer. `date` is the
 * answer's own, `now` this machine's clock, ms.
 */
export function refusalOf(
  access: SiteAccess,
  answer: { readonly status: number; readonly text: string; readonly date: string | null | undefined },
  now: number,
): Forbidden | undefined {
  if (access.kind !== "iam" || answer.status !== 403) return undefined;
  const said = answer.text.slice(0, 300);
  if (/expired|not yet current/i.test(said)) {
    const offMs = now - Date.parse(answer.date ?? "");
    const off = Number.isNaN(offMs) ? "" : ` by ${Math.round(Math.abs(offMs) / 1000)} s`;
    return new Forbidden(`this machine's clock is wrong${off}, so AWS refuses what it signs; set it by NTP (${said})`);
  }
  return new Forbidden(
    `AWS refuses the signed request: ${said}. The role or user of these credentials (aws sts get-caller-identity) needs ` +
      "lambda:InvokeFunctionUrl and lambda:InvokeFunction on the site's function; the site's stack has a policy for that",
  );
}

/** The request with what shows who sends it. Throws `Unauthenticated` when no AWS credentials can be found. */
export async function authorize(access: SiteAccess, request: SiteRequest): Promise<AuthorizedRequest> {
  if (access.kind === "token") {
    return { url: request.url.href, headers: { ...request.headers, authorization: `Bearer ${access.token}` } };
  }
  // The SDK's parts are read only by those who need them.
  const { signRequest } = await import("./aws/sign-request.ts");
  return signRequest(access.region, request);
}
