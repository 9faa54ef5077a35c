import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { InvalidInput } from "#core/errors.ts";

/** What the functions read of a function URL's event; the embedded site makes the same of a request. */
export interface HttpEvent extends Pick<APIGatewayProxyEventV2, "rawPath" | "rawQueryString" | "headers"> {
  readonly body?: string | undefined;
  /** The body from a host of the same process, in place of `body`: base64 both ways and its garbage are a third of what a batch costs. The host's memory: not to be used once the reply is made. */
  readonly bytes?: Uint8Array | undefined;
  readonly isBase64Encoded: boolean;
  readonly requestContext: {
    readonly requestId: string;
    /** When the request began, before its body came; ms since the epoch. */
    readonly timeEpoch: number;
    readonly http: { readonly method: string };
    /** Who signed the request, where a function URL checked that; believed on a host that says so, and nowhere else. */
    readonly authorizer?: { readonly iam?: { readonly userArn: string } | undefined } | undefined;
  };
}

export interface HttpResult extends APIGatewayProxyStructuredResultV2 {
  /** In place of `body`, for a host that gave the request's body as `bytes`. */
  readonly bytes?: Uint8Array;
}

export function json(value: unknown, status = 200): HttpResult {
  return { statusCode: status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

/** A page that shows itself and, by `policy`, does nothing else, whatever stands in it. */
export function page(html: string, policy: string): HttpResult {
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": policy,
    "x-content-type-options": "nosniff",
  };
  return { statusCode: 200, headers, body: html };
}

/** Bytes as they are for a host of the same process, as base64 for a function URL. */
export function octets(event: HttpEvent, bytes: Uint8Array): HttpResult {
  const reply = { statusCode: 200, headers: { "content-type": "application/octet-stream" } };
  if (event.bytes !== undefined) return { ...reply, bytes };
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  return { ...reply, body, isBase64Encoded: true };
}

/** The body's bytes. Throws `InvalidInput` when there are more than `bytesMax`, before anything is decoded. */
export function bodyBytes({ body = "", bytes: whole, isBase64Encoded }: HttpEvent, bytesMax: number): Uint8Array {
  if (whole !== undefined) {
    if (whole.length > bytesMax) throw tooLarge(bytesMax);
    return whole;
  }
  // Four characters of base64 are three bytes; other text has at least a byte a character.
  const least = isBase64Encoded ? Math.floor(body.length / 4) * 3 - 2 : body.length;
  if (least > bytesMax) throw tooLarge(bytesMax);
  const bytes = Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  if (bytes.length > bytesMax) throw tooLarge(bytesMax);
  return bytes;
}

export function tooLarge(bytesMax: number): InvalidInput {
  return new InvalidInput(`the request's body is larger than ${bytesMax} bytes`, { field: "body", bytesMax });
}

/** The body as JSON; an empty one is an empty object. Throws `InvalidInput`. */
export function bodyJson(event: HttpEvent, bytesMax: number): unknown {
  const bytes = bodyBytes(event, bytesMax);
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new InvalidInput("the request's body is not JSON", { field: "body" }, { cause });
  }
}
