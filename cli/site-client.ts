import { type Dispatcher, request } from "undici";
import { z } from "zod";
import { authorize, refusalOf, type SiteAccess } from "#adapters/site-access.ts";
import { wireErrorOf } from "#adapters/wire-error.ts";
import { InvalidInput, Transient } from "#core/errors.ts";
import { cliLimits } from "./limits.ts";

/** Speaks the site API (core/api/site-api.ts); a site's errors come back as the classes they were. */
export class SiteClient {
  readonly url: string;
  readonly #access: SiteAccess;

  constructor(url: string, access: SiteAccess) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new InvalidInput(`--site must be an http or https URL, not "${url}"`);
    }
    if (access.kind === "token" && !/^[\x21-\x7e]+$/.test(access.token)) {
      throw new InvalidInput("the token (FARSHORE_TOKEN or --token) is empty or holds blanks or line breaks");
    }
    this.url = url.replace(/\/+$/, "");
    this.#access = access;
  }

  get<T extends z.ZodType>(path: string, schema: T): Promise<z.infer<T>> {
    return this.#request("GET", path, schema);
  }

  post<T extends z.ZodType>(path: string, schema: T, body: unknown = {}): Promise<z.infer<T>> {
    return this.#request("POST", path, schema, body);
  }

  delete<T extends z.ZodType>(path: string, schema: T): Promise<z.infer<T>> {
    return this.#request("DELETE", path, schema);
  }

  /** Octets: a journal object, or a range of it. */
  async octets(path: string, signal?: AbortSignal): Promise<Uint8Array> {
    const reply = await this.#send("GET", path, undefined, signal);
    return new Uint8Array(await reply.body.arrayBuffer());
  }

  async #request<T extends z.ZodType>(
    method: Dispatcher.HttpMethod,
    path: string,
    schema: T,
    body?: unknown,
  ): Promise<z.infer<T>> {
    const reply = await this.#send(method, path, body);
    const value = this.#parse(await reply.body.text(), reply.statusCode);
    const parsed = schema.safeParse(value);
    if (!parsed.success) {
      throw new Transient(
        `${this.url} answered in a form that this version does not know: ${z.prettifyError(parsed.error)}`,
      );
    }
    return parsed.data;
  }

  /** The reply of a request that went well; a site's refusal is thrown as the error it names. */
  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const timeout = AbortSignal.timeout(cliLimits.requestMs);
    const payload = body === undefined ? {} : { body: JSON.stringify(body) };
    const asked = {
      method,
      url: new URL(this.url + path),
      headers: body === undefined ? {} : { "content-type": "application/json" },
      ...payload,
    };
    const { url, headers } = await authorize(this.#access, asked);
    const reply = await request(url, {
      method,
      headers,
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      ...payload,
    }).catch((cause: unknown) => {
      throw new Transient(`no answer from the site at ${this.url}${whyNot(cause)}`, {}, { cause });
    });
    const { statusCode: status } = reply;
    if (status >= 200 && status < 300) return reply;
    const text = await reply.body.text();
    const named = wireErrorOf(this.#parse(text, status));
    if (named !== undefined) throw named;
    const { date } = reply.headers;
    const answer = { status, text, date: typeof date === "string" ? date : undefined };
    throw refusalOf(this.#access, answer, Date.now()) ?? new Transient(`${this.url} answered ${status}`);
  }

  #parse(text: string, status: number): unknown {
    try {
      return JSON.parse(text);
    } catch (cause) {
      const hint = "is --site a Farshore site?";
      throw new Transient(`${this.url} answered ${status} without JSON; ${hint}`, {}, { cause });
    }
  }
}

/** What to do about a request that had no answer: a certificate nobody vouches for is not mended by starting the site. */
function whyNot(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/CERT|ISSUER|ALTNAME/.test(code)) {
    return `: its certificate is not trusted (${code}); name its authority's PEM file in NODE_EXTRA_CA_CERTS`;
  }
  return `${code === "" ? "" : ` (${code})`}; is it running, and is --site right?`;
}
