import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Context } from "aws-lambda";
import { namedFileBytesMax } from "#adapters/embedded/limits.ts";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { InvalidInput, Transient } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { errorReply } from "../../functions/shared/error-reply.ts";
import { type HttpEvent, type HttpResult, tooLarge } from "../../functions/shared/http.ts";
import type { HttpHandler } from "../../functions/shared/http-handler.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import { lambdaContext } from "./lambda-context.ts";
import { siteLimits as limits } from "./limits.ts";
import type { ListenAddress } from "./listen-address.ts";

/** Which function serves a path; the first prefix that fits. */
export interface Mount {
  readonly prefix: string;
  readonly functionName: string;
  readonly handler: HttpHandler;
  readonly bodyBytesMax: number;
}

/** PEM files. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export interface HttpServer {
  readonly url: string;
  /** Takes no more, waits for what is under way, and ends what doesn't end in time. */
  close(): Promise<void>;
}

/** Serves the functions over HTTP: each request becomes the event of a function URL, each result a response. */
export async function startHttpServer(
  site: Site,
  mounts: readonly Mount[],
  address: ListenAddress,
  tls: TlsFiles | undefined,
): Promise<HttpServer> {
  const bodies = new BodyBudget();
  const server = listenerOf(tls, (request, response) => {
    serve(site, mounts, request, response, bodies).catch((error: unknown) => {
      // Reached when the connection broke while the answer was written: nobody is left to tell.
      site.log.debug("response-not-sent", { error });
      response.destroy();
    });
  });
  server.headersTimeout = limits.headersTimeoutMs;
  server.requestTimeout = limits.requestTimeoutMs;
  server.keepAliveTimeout = limits.keepAliveMs;
  server.maxConnections = limits.connectionsMax;
  const port = await listen(server, address);
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return { url: `${tls === undefined ? "http" : "https"}://${host}:${port}`, close: () => close(server) };
}

/** Bytes of bodies in memory, of all requests together. */
class BodyBudget {
  #bytes = 0;

  /** Throws `Transient` when that is too much; the caller gives back what it took. */
  take(bytes: number): void {
    if (this.#bytes + bytes > limits.bodiesBytesMax)
      throw new Transient("the site has too much to take in; come again");
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

function listenerOf(tls: TlsFiles | undefined, listener: RequestListener): Server {
  const options = { maxHeaderSize: limits.headerBytesMax };
  if (tls === undefined) return createServer(options, listener);
  const { cert, key } = tls;
  try {
    const read = (file: string) => readBounded(file, "The file", namedFileBytesMax);
    const pem = { cert: read(cert), key: read(key) };
    return createTlsServer({ ...options, minVersion: "TLSv1.2", ...pem }, listener);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidInput(`${cert} and ${key} are no certificate and key in PEM: ${why}`, { field: "tls" }, { cause });
  }
}

function listen(server: Server, { host, port }: ListenAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new InvalidInput(`can't listen on ${host}:${port}: ${cause.message}`, { field: "listen" }, { cause }));
    });
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), limits.closeGraceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

async function serve(
  site: Site,
  mounts: readonly Mount[],
  request: IncomingMessage,
  response: ServerResponse,
  bodies: BodyBudget,
): Promise<void> {
  const requestId = newId(site.clock, site.random);
  const result = await answer(site, mounts, request, requestId, bodies);
  const { statusCode = 200, headers = {}, body = "", isBase64Encoded } = result;
  const bytes = Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  response.writeHead(statusCode, {
    ...headers,
    "content-length": bytes.length,
    "x-request-id": requestId,
    // A body that wasn't read to its end would be taken for the next request.
    ...(request.complete ? {} : { connection: "close" }),
  });
  response.end(bytes);
}

async function answer(
  site: Site,
  mounts: readonly Mount[],
  request: IncomingMessage,
  requestId: string,
  bodies: BodyBudget,
): Promise<HttpResult> {
  const [rawPath = "/", rawQueryString = ""] = (request.url ?? "/").split(/\?(.*)/s);
  const mount = mounts.find(({ prefix }) => rawPath.startsWith(prefix)) ?? mounts.at(-1);
  if (mount === undefined) throw new TypeError("a server without functions");
  const parts: Buffer[] = [];
  const timeEpoch = site.clock.now();
  try {
    const bytes = await readBody(request, mount.bodyBytesMax, parts, bodies);
    const event: HttpEvent = {
      rawPath,
      rawQueryString,
      headers: headersOf(request),
      bytes,
      isBase64Encoded: false,
      requestContext: { requestId, timeEpoch, http: { method: request.method ?? "GET" } },
    };
    const context: Context = lambdaContext(mount.functionName, requestId);
    return await runWithSite(site, () => mount.handler(event, context));
  } catch (error) {
    return errorReply(error, requestId);
  } finally {
    bodies.give(bytesOf(parts));
  }
}

const bytesOf = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0);

function headersOf(request: IncomingMessage): Record<string, string> {
  const entries = Object.entries(request.headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(",") : value] as const],
  );
  return Object.fromEntries(entries);
}

/** The whole body, refused by its announced length before it is read, and by its true length while. */
async function readBody(
  request: IncomingMessage,
  bytesMax: number,
  parts: Buffer[],
  bodies: BodyBudget,
): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > bytesMax) throw tooLarge(bytesMax);
  let length = 0;
  for await (const part of request) {
    if (!Buffer.isBuffer(part)) throw new TypeError("a body is made of buffers");
    length += part.length;
    if (length > bytesMax) throw tooLarge(bytesMax);
    bodies.take(part.length);
    parts.push(part);
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, length);
}
