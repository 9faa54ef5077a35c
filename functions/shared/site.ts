import { AsyncLocalStorage } from "node:async_hooks";
import type { Site } from "#core/site.ts";

const current = new AsyncLocalStorage<Site>();
let configured: Site | undefined;

/** Set once by a host that serves one site for as long as the process lives: a Lambda, at its start. */
export function configureSite(site: Site): void {
  configured = site;
}

/** Runs a function's handler for one site; a process may host several, each with its own. */
export function runWithSite<T>(site: Site, run: () => T): T {
  return current.run(site, run);
}

/** The site that the running function belongs to. */
export function configuredSite(): Site {
  const site = current.getStore() ?? configured;
  if (site === undefined)
    throw new Error("this function was called without a site; its host calls configureSite first");
  return site;
}
