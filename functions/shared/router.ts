import { InvalidInput, NotFound } from "#core/errors.ts";
import type { Caller, Site } from "#core/site.ts";
import { assertRole, authenticate, type LeastRole } from "./authenticate.ts";
import type { HttpEvent, HttpResult } from "./http.ts";
import { httpLimits } from "./limits.ts";
import { configuredHost } from "./site.ts";

export interface Call {
  readonly site: Site;
  readonly caller: Caller;
  readonly event: HttpEvent;
  /** What stands for the path's `{names}`. Throws `InvalidInput` for a name the path doesn't have. */
  readonly param: (name: string) => string;
  readonly query: URLSearchParams;
}

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** `/v1/vpgs/{ref}`; `{key+}` at the end takes the rest with its slashes. */
  readonly path: string;
  readonly role: LeastRole;
  readonly run: (call: Call) => Promise<HttpResult>;
}

interface CompiledRoute extends Route {
  readonly pattern: RegExp;
}

/** One function's table of routes: finds the route, then who calls, then whether they may, and only then runs it. */
export function dispatcher(routes: readonly Route[]): (event: HttpEvent) => Promise<HttpResult> {
  const compiled = routes.map((route): CompiledRoute => ({ ...route, pattern: patternOf(route.path) }));
  return async (event) => {
    if (event.rawPath.length > httpLimits.pathCharactersMax) throw new InvalidInput("the path is too long");
    if (event.rawQueryString.length > httpLimits.queryCharactersMax) throw new InvalidInput("the query is too long");
    const host = configuredHost();
    const { site } = host;
    const caller = await authenticate(host, event);
    const { method } = event.requestContext.http;
    const matching = compiled.filter(({ pattern }) => pattern.test(event.rawPath));
    const route = matching.find((one) => one.method === method);
    if (route === undefined) throw notFound(event, matching);
    assertRole(caller, route.role);
    const groups = route.pattern.exec(event.rawPath)?.groups ?? {};
    const param = (name: string): string => decode(groups[name], name);
    return route.run({ site, caller, event, param, query: new URLSearchParams(event.rawQueryString) });
  };
}

function patternOf(path: string): RegExp {
  const source = path.replace(/\{(\w+)(\+?)\}/g, (_, name, rest) => `(?<${name}>${rest === "+" ? ".+" : "[^/]+"})`);
  return new RegExp(`^${source}$`);
}

function decode(text: string | undefined, field: string): string {
  try {
    return decodeURIComponent(text ?? "");
  } catch (cause) {
    throw new InvalidInput(`${field} in the path is not well encoded`, { field }, { cause });
  }
}

function notFound(event: HttpEvent, matching: readonly Route[]): NotFound {
  const asked = `${event.requestContext.http.method} ${event.rawPath.slice(0, 200)}`;
  const others = matching.map(({ method }) => method).join(", ");
  return new NotFound(`no such call: ${asked}${others === "" ? "" : `; here is ${others}`}`);
}

/** A whole number of the path or the query. Throws `InvalidInput` naming the field. */
export function wholeNumber(text: string, field: string): number {
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidInput(`${field}: "${text.slice(0, 40)}" is not a whole number`, { field });
  }
  return value;
}

/** The same of an optional field of the query. */
export function optionalNumber(query: URLSearchParams, field: string): number | undefined {
  const text = query.get(field);
  return text === null ? undefined : wholeNumber(text, field);
}
