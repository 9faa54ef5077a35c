import { type IncomingHttpHeaders, request } from "node:http";
import { request as tlsRequest } from "node:https";

export interface HttpCall {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON. */
  readonly body?: Uint8Array | string | object | undefined;
  /** PEM of a certificate authority to trust. */
  readonly ca?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** `error.name` of the answer, if it is a refusal as the API tells it. */
  readonly refused: string | undefined;
  readonly message: string;
  json(): unknown;
}

/** One request, its path sent exactly as given, without the corrections that `fetch` makes. Rejects when the connection breaks. */
export function httpCall(site: string, path: string, call: HttpCall = {}): Promise<HttpAnswer> {
  const { method = "GET", token, ca } = call;
  const body = bodyOf(call.body);
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined || call.headers?.["transfer-encoding"] ? {} : { "content-length": String(body.length) }),
    ...call.headers,
  };
  const { hostname, port, protocol } = new URL(site);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const options = { host, port, path, method, headers, agent: false, ...(ca === undefined ? {} : { ca }) };
  return new Promise((resolve, reject) => {
    const sent = protocol === "https:" ? tlsRequest(options) : request(options);
    sent.on("response", (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () =>
        resolve(answerOf(response.statusCode ?? 0, response.headers, Buffer.concat(parts).toString("utf8"))),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function bodyOf(body: HttpCall["body"]): Uint8Array | undefined {
  if (body === undefined || body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}

function answerOf(status: number, headers: IncomingHttpHeaders, text: string): HttpAnswer {
  const json = (): unknown => JSON.parse(text);
  const error = status >= 400 && headers["content-type"] === "application/json" ? refusalOf(json()) : undefined;
  return { status, headers, text, refused: error?.name, message: error?.message ?? "", json };
}

function refusalOf(value: unknown): { readonly name: string; readonly message: string } | undefined {
  if (typeof value !== "object" || value === null || !("error" in value)) return undefined;
  const { error } = value;
  if (typeof error !== "object" || error === null || !("name" in error) || !("message" in error)) return undefined;
  return { name: String(error.name), message: String(error.message) };
}
