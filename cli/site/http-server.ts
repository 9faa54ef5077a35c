import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Context } from "aws-lambda";
import { namedFileBytesMax } from "#adapters/embedded/limits.ts";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { InvalidInput } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import type { Site } from "#core/site.ts";
import { errorReply } from "../../functions/shared/error-reply.ts";
import type { HttpEvent, HttpResult } from "../../functions/shared/http.ts";
import type { HttpHandler } from "../../functions/shared/http-handler.ts";
import { runWithSite } from "../../functions/shared/site.ts";
import { lambdaContext } from "./lambda-context.ts";
import { siteLimits as limits } from "./limits.ts";
import type { ListenAddress } from "./listen-address.ts";
import { BodyMemory, RequestBody } from "./request-body.ts";

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
  /** Takes no more, waits for what is under way, also for callers that are gone, and ends what doesn't end in time. */
  close(): Promise<void>;
}

/** Serves the functions over HTTP: each request becomes the event of a function URL, each result a response. */
export async function startHttpServer(
  site: Site,
  mounts: readonly Mount[],
  address: ListenAddress,
  tls: TlsFiles | undefined,
): Promise<HttpServer> {
  const memory = new BodyMemory();
  const underWay = new Set<Promise<void>>();
  const server = listenerOf(tls, (request, response) => {
    const served = serve(site, mounts, request, response, memory).catch((error: unknown) => {
      // Reached when the connection broke while the answer was written: nobody is left to tell.
      site.log.debug("response-not-sent", { error });
      response.destroy();
    });
    underWay.add(served);
    void served.then(() => underWay.delete(served));
  });
  server.headersTimeout = limits.headersTimeoutMs;
  server.requestTimeout = limits.requestTimeoutMs;
  server.keepAliveTimeout = limits.keepAliveMs;
  server.maxConnections = limits.connectionsMax;
  const port = await listen(server, address);
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return { url: `${tls === undefined ? "http" : "https"}://${host}:${port}`, close: () => close(server, underWay) };
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

/** A caller that has gone leaves its function at work: what that uses is closed only after it. */
async function close(server: Server, underWay: ReadonlySet<Promise<void>>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const cut = setTimeout(() => {
    server.closeAllConnections();
    late.resolve();
  }, limits.closeGraceMs);
  const gone = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await gone;
  await Promise.race([Promise.all(underWay), late.promise]);
  clearTimeout(cut);
}

async function serve(
  site: Site,
  mounts: readonly Mount[],
  request: IncomingMessage,
  response: ServerResponse,
  memory: BodyMemory,
): Promise<void> {
  const requestId = newId(site.clock, site.random);
  const result = await answer(site, mounts, request, requestId, memory);
  const { statusCode = 200, headers = {}, body = "", isBase64Encoded } = result;
  const bytes = result.bytes ?? Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
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
  memory: BodyMemory,
): Promise<HttpResult> {
  const [rawPath = "/", rawQueryString = ""] = (request.url ?? "/").split(/\?(.*)/s);
  const mount = mounts.find(({ prefix }) => rawPath.startsWith(prefix)) ?? mounts.at(-1);
  if (mount === undefined) throw new TypeError("a server without functions");
  const body = new RequestBody(memory);
  const timeEpoch = site.clock.now();
  try {
    const bytes = await body.read(request, mount.bodyBytesMax);
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
    body.release();
  }
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const entries = Object.entries(request.headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(",") : value] as const],
  );
  return Object.fromEntries(entries);
}
