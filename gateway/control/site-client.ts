import { z } from "zod";
import { authorize, refusalOf, type SiteAccess } from "#adapters/site-access.ts";
import {
  type BatchReply,
  batchListSchema,
  batchReplySchema,
  type HashesRequest,
  type Heartbeat,
  heartbeatReplySchema,
  type OpenSession,
  type OpenSessionReply,
  openSessionReplySchema,
} from "#core/api/gateway-api.ts";
import { type ErrorDetails, errorFromWire, type FarshoreError, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { SyncPagePlace } from "#core/journal/keys.ts";
import type { Position } from "#core/journal/position.ts";
import type { ByteRange } from "#core/ports.ts";
import type { CommandReport } from "#core/protection/command.ts";
import { definitionSchema, type VpgDefinition } from "#core/protection/definition.ts";
import type { Role } from "#core/protection/term.ts";
import { vpgFieldsSchema } from "#core/protection/vpg-record.ts";
import { type BatchPage, batchQuery } from "../export/http-journal.ts";
import { hashesTimeoutMs, requestTimeoutMs, uploadTimeoutMs } from "../limits.ts";
import { HttpTransport, type SiteTransport, type WireReply } from "./http-transport.ts";

export interface SiteAddress {
  /** `http(s)://host:port`, the site's URL. */
  readonly url: string;
  /** Where batches go, when the site said that it isn't its URL. */
  readonly batchesUrl?: string | undefined;
  readonly access: SiteAccess;
  /** PEM of a certificate authority to trust besides the system's. */
  readonly ca?: string | undefined;
}

/** Commands stay unparsed: one of a kind this version doesn't know must not break the heartbeat. */
const heartbeatAnswerSchema = heartbeatReplySchema.extend({ commands: z.array(z.unknown()) });
export type HeartbeatAnswer = z.infer<typeof heartbeatAnswerSchema>;

const definitionReplySchema = z.object({ definition: definitionSchema });
const roleReplySchema = z.object({ role: vpgFieldsSchema.shape.role.or(z.literal("deleted")) });
const errorReplySchema = z.object({
  error: z.object({
    name: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
  }),
});

interface Call {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  /** In place of the site's URL. */
  readonly base?: string | undefined;
  readonly body?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A gateway's side of core/api/gateway-api.ts over kept-alive connections. Every method throws the error that the site names;
 * what goes wrong on the way (no connection, time out, an answer that isn't the API's) is a `Transient`.
 */
export class SiteClient {
  readonly #address: SiteAddress;
  readonly #transport: SiteTransport;

  constructor(
    address: SiteAddress,
    connections: number,
    transport: SiteTransport = new HttpTransport(connections, address.ca),
  ) {
    this.#address = address;
    this.#transport = transport;
  }

  heartbeat(heartbeat: Heartbeat, signal?: AbortSignal): Promise<HeartbeatAnswer> {
    return this.#json(heartbeatAnswerSchema, { ...post("/heartbeat", heartbeat), signal });
  }

  async reportCommand(commandId: string, report: CommandReport, signal?: AbortSignal): Promise<void> {
    await this.#octets({ ...post(`/commands/${commandId}`, report), signal });
  }

  openSession(ask: OpenSession, signal?: AbortSignal): Promise<OpenSessionReply> {
    return this.#json(openSessionReplySchema, { ...post("/sessions", ask), timeoutMs: hashesTimeoutMs, signal });
  }

  /** By id or name. */
  async definition(vpg: string, signal?: AbortSignal): Promise<VpgDefinition> {
    return (await this.#json(definitionReplySchema, { method: "GET", path: `/vpgs/${vpg}`, signal })).definition;
  }

  /** What the site is to the VPG, or that it was deleted there. */
  async role(vpg: string, signal?: AbortSignal): Promise<Role | "deleted"> {
    return (await this.#json(roleReplySchema, { method: "GET", path: `/vpgs/${vpg}/role`, signal })).role;
  }

  /** `ageMs`: from the batch's last record to now. */
  putBatch(
    place: { readonly vpgId: string; readonly term: number; readonly session: number; readonly batch: number },
    object: Uint8Array,
    ageMs: number,
    signal?: AbortSignal,
    timeoutMs = uploadTimeoutMs,
  ): Promise<BatchReply> {
    return this.#json(batchReplySchema, {
      method: "PUT",
      base: this.#address.batchesUrl,
      path: `/batches/${place.vpgId}/${place.term}/${place.session}/${place.batch}`,
      body: object,
      headers: {
        "content-type": "application/octet-stream",
        "x-farshore-age-ms": String(Math.max(0, Math.round(ageMs))),
      },
      timeoutMs,
      signal,
    });
  }

  /** 32 bytes of SHA-256 a chunk, or a sub-chunk, in the order asked. */
  hashes(ask: HashesRequest, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#octets({ ...post("/hashes", ask), timeoutMs: hashesTimeoutMs, signal });
  }

  /** Brings a delta-sync the hashes of a page. */
  async putPageHashes(operationId: Id, place: SyncPagePlace, hashes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const headers = { "content-type": "application/octet-stream" };
    await this.#octets({ method: "PUT", path: syncPath(operationId, place), body: hashes, headers, signal });
  }

  /** A delta-sync's want-list of a page. Throws `NotFound` when there is none. */
  pageWants(operationId: Id, place: SyncPagePlace, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#octets({ method: "GET", path: syncPath(operationId, place), signal });
  }

  /** One page of the batches at or before a position. */
  batches(vpgId: Id, upTo: Position, page: BatchPage, signal?: AbortSignal): Promise<z.infer<typeof batchListSchema>> {
    const query = batchQuery(upTo, page);
    return this.#json(batchListSchema, { method: "GET", path: `/vpgs/${vpgId}/batches?${query}`, signal });
  }

  /** A journal object of the VPG, or a range of it cut to its end. */
  object(vpgId: Id, key: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const query = range === undefined ? "" : `?offset=${range.offset}&length=${range.length}`;
    return this.#octets({ method: "GET", path: `/vpgs/${vpgId}/objects/${key}${query}`, signal });
  }

  /** Ends the connections; calls under way fail as `Transient`. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #json<Schema extends z.ZodType>(schema: Schema, call: Call): Promise<z.infer<Schema>> {
    const bytes = await this.#octets(call);
    let value: unknown;
    try {
      value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
    } catch (cause) {
      throw new Transient(`${call.method} ${call.path}: the site's answer is not JSON`, {}, { cause });
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw new Transient(
      `${call.method} ${call.path}: the site's answer has a wrong ${issue?.path.join(".")}: ${issue?.message}`,
      {},
      { cause: parsed.error },
    );
  }

  async #octets(call: Call): Promise<Uint8Array> {
    try {
      const { url, access } = this.#address;
      const { method, base = url, body, headers = {} } = call;
      const asked = new URL(`${base.replace(/\/$/, "")}/gateway/v1${call.path}`);
      const authorized = await authorize(access, { method, url: asked, headers, body });
      const { timeoutMs = requestTimeoutMs, signal } = call;
      const reply = await this.#transport.send({ ...authorized, method, body: body ?? null, timeoutMs, signal });
      if (reply.statusCode >= 200 && reply.statusCode < 300) return reply.bytes;
      throw errorOfReply(reply, call, access);
    } catch (cause) {
      if (isNamed(cause)) throw cause;
      // The caller's own abort is not the site's trouble.
      call.signal?.throwIfAborted();
      throw new Transient(`${call.method} ${call.path}: ${troubleText(cause)}`, {}, { cause });
    }
  }
}

const syncPath = (operationId: Id, { session, volume, page }: SyncPagePlace): string =>
  `/syncs/${operationId}/${session}/${volume}/${page}`;

function post(path: string, body: unknown): Call {
  return { method: "POST", path, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

function errorOfReply(reply: WireReply, call: Call, access: SiteAccess): FarshoreError {
  const { statusCode: status, headers } = reply;
  const text = Buffer.from(reply.bytes).toString("utf8");
  const date = typeof headers["date"] === "string" ? headers["date"] : undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Something between us and the site answered: a proxy's page.
    return new Transient(`${call.method} ${call.path}: status ${status}: ${text.slice(0, 200)}`, { status });
  }
  const parsed = errorReplySchema.safeParse(value);
  if (!parsed.success) {
    const refusal = refusalOf(access, { status, text, date }, Date.now());
    return refusal ?? new Transient(`${call.method} ${call.path}: status ${status}`, { status });
  }
  const { name, message, details } = parsed.data.error;
  const known: ErrorDetails = details ?? {};
  return errorFromWire(name, message, known);
}

function isNamed(error: unknown): error is FarshoreError {
  return error instanceof Error && "kind" in error && "status" in error && "details" in error;
}

function troubleText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? `${String(error.code)} ` : "";
  return `${code}${error.message}`;
}
