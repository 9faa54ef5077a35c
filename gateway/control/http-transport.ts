import { Agent, request } from "undici";
import { Transient } from "#core/errors.ts";
import { replyBytesMax } from "../limits.ts";

/** One request to a site, as it goes on the wire. */
export interface WireRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array | string | null;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface WireReply {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly bytes: Uint8Array;
}

/** The way to a site and back. Rejects when no whole answer came in time, and with the signal's reason when that is aborted. */
export interface SiteTransport {
  send(request: WireRequest): Promise<WireReply>;
  /** Requests under way fail. */
  close(): Promise<void>;
}

/** HTTP over kept-alive connections. */
export class HttpTransport implements SiteTransport {
  readonly #agent: Agent;

  /** `ca`: PEM of a certificate authority to trust besides the system's. */
  constructor(connections: number, ca?: string) {
    this.#agent = new Agent({
      connections,
      pipelining: 1,
      connect: ca === undefined ? {} : { ca },
      keepAliveTimeout: 60_000,
    });
  }

  async send({ method, url, headers, body, timeoutMs, signal }: WireRequest): Promise<WireReply> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const reply = await request(url, {
      method,
      headers,
      body,
      dispatcher: this.#agent,
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
    });
    return { statusCode: reply.statusCode, headers: reply.headers, bytes: await readBounded(reply.body) };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

async function readBounded(body: AsyncIterable<unknown>): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    if (!Buffer.isBuffer(part)) throw new TypeError("a body is made of buffers");
    length += part.length;
    if (length > replyBytesMax) throw new Transient("the site's answer is too long");
    parts.push(part);
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, length);
}
