import { z } from "zod";
import { errorFromWire, InvalidInput, Transient } from "#core/errors.ts";
import { cliLimits } from "./limits.ts";

const wireError = z.object({
  error: z.object({
    name: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
  }),
});

/** Speaks the site API (core/api/site-api.ts); a site's errors come back as the classes they were. */
export class SiteClient {
  readonly url: string;
  readonly token: string;

  constructor(url: string, token: string) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new InvalidInput(`--site must be an http or https URL, not "${url}"`);
    }
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new InvalidInput("the token (FARSHORE_TOKEN or --token) is empty or holds blanks or line breaks");
    }
    this.url = url.replace(/\/+$/, "");
    this.token = token;
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
    return new Uint8Array(await reply.arrayBuffer());
  }

  async #request<T extends z.ZodType>(method: string, path: string, schema: T, body?: unknown): Promise<z.infer<T>> {
    const reply = await this.#send(method, path, body);
    const value = await this.#json(reply);
    const parsed = schema.safeParse(value);
    if (!parsed.success) {
      throw new Transient(
        `${this.url} answered in a form that this version does not know: ${z.prettifyError(parsed.error)}`,
      );
    }
    return parsed.data;
  }

  /** The reply of a request that went well; a site's refusal is thrown as the error it names. */
  async #send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    const timeout = AbortSignal.timeout(cliLimits.requestMs);
    const reply = await fetch(this.url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      throw new Transient(`no answer from the site at ${this.url}${whyNot(cause)}`, {}, { cause });
    });
    if (reply.ok) return reply;
    const parsed = wireError.safeParse(await this.#json(reply));
    if (!parsed.success) throw new Transient(`${this.url} answered ${reply.status}`);
    const { name, message, details } = parsed.data.error;
    throw errorFromWire(name, message, details ?? {});
  }

  async #json(reply: Response): Promise<unknown> {
    try {
      return await reply.json();
    } catch (cause) {
      const hint = "is --site a Farshore site?";
      throw new Transient(`${this.url} answered ${reply.status} without JSON; ${hint}`, {}, { cause });
    }
  }
}

/** What to do about a request that had no answer: a certificate nobody vouches for is not mended by starting the site. */
function whyNot(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  if (/CERT|ISSUER|ALTNAME/.test(code)) {
    return `: its certificate is not trusted (${code}); name its authority's PEM file in NODE_EXTRA_CA_CERTS`;
  }
  return `${code === "" ? "" : ` (${code})`}; is it running, and is --site right?`;
}
