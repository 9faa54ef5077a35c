import { readFileSync } from "node:fs";
import type { SiteStage } from "../kit/served-site.ts";

/** One call of the site's APIs as its function's table of routes has it. */
export interface ServedRoute {
  readonly method: string;
  /** With `{names}`. */
  readonly path: string;
  readonly role: "viewer" | "operator" | "approver" | "gateway" | "peer";
}

function routesOf(functionName: string, prefix: string, role: string): ServedRoute[] {
  const source = readFileSync(new URL(`../../functions/${functionName}/handler.ts`, import.meta.url), "utf8");
  const found = source.matchAll(/method: "(\w+)",\s*path: "([^"]+)",(?:\s*role: "(\w+)",)?/g);
  return [...found].map(([, method = "", path = "", own = role]) => ({
    method,
    path: `${prefix}${path}`,
    role: own === "viewer" || own === "operator" || own === "approver" || own === "peer" ? own : "gateway",
  }));
}

/** Every route there is, read from the functions themselves: a new one is tried by these tests without being asked. */
export const routes: readonly ServedRoute[] = [
  ...routesOf("site-api", "/v1", ""),
  ...routesOf("gateway-api", "/gateway/v1", "gateway"),
  ...routesOf("ingest-batch", "", "gateway"),
];

/** The path with `value` for each of its names. */
export const filled = (path: string, value: string): string => path.replaceAll(/\{\w+\+?\}/g, value);

/** A token that may call the route. */
export const tokenFor = (site: SiteStage, { role }: ServedRoute): string =>
  role === "gateway" ? site.tokens.source : site.tokens[role === "viewer" ? "operator" : role];
