import type { Command } from "commander";
import { type AuthKind, authOf, type IamAccess, iamAccess, type SiteAccess } from "#adapters/site-access.ts";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { type Output, standardOutput } from "./output.ts";
import { SiteClient } from "./site-client.ts";

interface GlobalOptions {
  readonly site: string;
  readonly token?: string;
  readonly auth?: AuthKind;
  readonly json?: boolean;
  readonly yes?: boolean;
}

/** What a command needs of the global options; the client is made only when a command talks to a site. */
export interface Context {
  readonly output: Output;
  readonly yes: boolean;
  /** What `--site` names when it is no URL, for the commands that are about a protected site. */
  readonly protectedSite?: string;
  client(): SiteClient;
  /** The AWS region of a site that takes signed requests; undefined for any other. Throws `InvalidInput` when nothing says it. */
  region(): string | undefined;
}

export const defaultSite = "http://127.0.0.1:7700";

/** With `takes.protectedSite`, `--site NAME` is the protected site, and the site to talk to is the environment's or the default. */
export function contextOf(command: Command, takes: { readonly protectedSite?: true } = {}): Context {
  const options = command.optsWithGlobals<GlobalOptions>();
  const named = takes.protectedSite === true && nameSchema.safeParse(options.site).success;
  const url = named ? (process.env["FARSHORE_SITE"] ?? defaultSite) : options.site;
  return {
    output: standardOutput(options.json === true),
    yes: options.yes === true,
    ...(named ? { protectedSite: options.site } : {}),
    client: () => new SiteClient(url, accessOf(url, options)),
    region: () => signedFor(url, options)?.region,
  };
}

function signedFor(url: string, { auth }: GlobalOptions): IamAccess | undefined {
  return authOf(url, auth) === "iam" ? iamAccess(url, process.env["AWS_REGION"]) : undefined;
}

function accessOf(url: string, options: GlobalOptions): SiteAccess {
  const signed = signedFor(url, options);
  if (signed !== undefined) return signed;
  const { token } = options;
  if (token !== undefined && token !== "") return { kind: "token", token };
  throw new InvalidInput("no token: set FARSHORE_TOKEN (or give --token, which other users of this machine can see)");
}
