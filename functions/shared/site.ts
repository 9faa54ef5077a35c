import { AsyncLocalStorage } from "node:async_hooks";
import type { SiteFigures } from "#core/recovery/site-figures.ts";
import type { Site } from "#core/site.ts";

/** How this host knows who calls; a request can't choose. */
export type Authentication =
  /** By the bearer token of a header. */
  | { readonly kind: "token" }
  /** By what the function URL says of the signer; these ARNs are operators without being registered. */
  | { readonly kind: "iam"; readonly operatorArns: readonly string[] };

/** What runs a function: the site it belongs to, and what only the host knows. */
export interface Host {
  readonly site: Site;
  readonly authentication: Authentication;
  /** Where gateways send batches, when it isn't where they call. */
  readonly ingestUrl?: string | undefined;
  /** Takes the site's figures, once a look of the monitor. */
  readonly measure?: (figures: SiteFigures) => void;
}

const current = new AsyncLocalStorage<Host>();
let configured: Host | undefined;

/** Set once by a host that serves one site for as long as the process lives: a Lambda, at its start. */
export function configureHost(host: Host): void {
  configured = host;
}

/** Runs a function's handler for one site, its callers known by tokens; a process may host several, each with its own. */
export function runWithSite<T>(site: Site, run: () => T): T {
  return runWithHost({ site, authentication: { kind: "token" } }, run);
}

export function runWithHost<T>(host: Host, run: () => T): T {
  return current.run(host, run);
}

/** What the running function was called with. */
export function configuredHost(): Host {
  const host = current.getStore() ?? configured;
  if (host === undefined)
    throw new Error("this function was called without a site; its host calls configureHost first");
  return host;
}

/** The site that the running function belongs to. */
export const configuredSite = (): Site => configuredHost().site;
