import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { SignatureV4 } from "@smithy/signature-v4";
import { Unauthenticated } from "#core/errors.ts";
import { type AuthorizedRequest, regionOf, type SiteRequest } from "../site-access.ts";

/** Node's SHA-256 as the signer asks for it: with a secret it is the HMAC. */
class Sha256 {
  readonly #hash: Hash | Hmac;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(secret));
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return Uint8Array.from(this.#hash.digest());
  }

  reset(): never {
    throw new TypeError("a signature's hash is used once");
  }
}

function bytesOf(data: string | ArrayBuffer | ArrayBufferView): Buffer {
  if (typeof data === "string") return Buffer.from(data);
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

/** One chain for the process: it keeps credentials until they are about to end. */
const credentials = defaultProvider();
const signers = new Map<string, SignatureV4>();

function signerOf(region: string): SignatureV4 {
  const made = signers.get(region) ?? new SignatureV4({ service: "lambda", region, credentials, sha256: Sha256 });
  signers.set(region, made);
  return made;
}

/**
 * The request signed for a function URL (SigV4, service `lambda`), its body hashed once. Where `AWS_ENDPOINT_URL_LAMBDA` or
 * `AWS_ENDPOINT_URL` names a local AWS, a request to `<id>.lambda-url.<region>.on.aws` goes there with that name in its Host
 * header: no DNS knows it.
 */
export async function signRequest(region: string, request: SiteRequest): Promise<AuthorizedRequest> {
  const { method, url, body = "" } = request;
  const host = url.host;
  const signed = await signerOf(region)
    .sign({
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      ...(url.port === "" ? {} : { port: Number(url.port) }),
      path: url.pathname,
      query: queryOf(url.searchParams),
      headers: { ...request.headers, host, "x-amz-content-sha256": createHash("sha256").update(body).digest("hex") },
    })
    .catch((cause: unknown) => {
      throw new Unauthenticated(
        `no AWS credentials to sign with: ${cause instanceof Error ? cause.message : ""}`,
        {},
        { cause },
      );
    });
  return { url: placeOf(url), headers: { ...signed.headers } };
}

function queryOf(parameters: URLSearchParams): Record<string, string[]> {
  return Object.fromEntries([...new Set(parameters.keys())].map((name) => [name, parameters.getAll(name)]));
}

function placeOf(url: URL): string {
  const endpoint = process.env["AWS_ENDPOINT_URL_LAMBDA"] ?? process.env["AWS_ENDPOINT_URL"] ?? "";
  const here = endpoint === "" || regionOf(url.href) === undefined;
  return here ? url.href : new URL(url.pathname + url.search, endpoint).href;
}
