/**
 * A recovery site as a gateway sees it: gateway-api over HTTP on loopback, the real rules behind it, everything in memory, and the
 * faults of a network and a server in front. The image it answers hashes of is made by plain replay, with no view in between.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { hashesSchema, heartbeatSchema, openSessionSchema, type StreamState } from "#core/api/gateway-api.ts";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import { syncForSession, syncForStreams } from "#core/delta-sync/for-session.ts";
import { getPageWants, putPageHashes } from "#core/delta-sync/page-objects.ts";
import { FarshoreError, NotFound, Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { extentKinds } from "#core/journal/batch.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { decodeFrame } from "#core/journal/frame.ts";
import { journalPrefix, parseBatchKey, type SyncPagePlace } from "#core/journal/keys.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import { parseInput } from "#core/json.ts";
import { type ListedCheckpoint, listCheckpoints } from "#core/protection/checkpoints.ts";
import { commandReportSchema } from "#core/protection/command.ts";
import { reportCommand } from "#core/protection/commands.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import { imageHashes } from "#core/protection/image-hashes.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { hashChunk } from "#core/sync/hash-chunk.ts";
import { makeSite, type ProtectedVpg, protect } from "./site.ts";

export interface SiteFaults {
  /** The share of requests that do what they should, and whose answer never arrives. */
  losesReply: number;
  /** The share that fail before anything is done. */
  fails: number;
  /** The share of batches that arrive twice. */
  duplicates: number;
  /** Answers wait up to so long, and so come in another order. */
  delayMsMax: number;
  /** Nothing is answered while it is true. */
  hangs: boolean;
  /** Throws to refuse; sees method and path. */
  refuse: (request: string) => void;
}

const chunk = 512 * 1024;

/**
 * VPG shop of one VM, db, with volumes of these sizes in bytes, by name; its source is gw-berlin. Nobody recovers it unless `over` says
 * who does.
 */
export function shopOf(sizes: Readonly<Record<string, number>>, over: Partial<CreateVpg> = {}): CreateVpg {
  return createVpgSchema.parse({
    ...{ name: "shop", protectedSite: "berlin", sourceGateway: "gw-berlin", recoveryGateway: null, compute: "none" },
    checkpointIntervalMs: 1000,
    vms: [{ name: "db", volumes: Object.entries(sizes).map(([name, sizeBytes]) => ({ name, sizeBytes })) }],
    ...over,
  });
}

export class GatewaySite {
  readonly site: Site;
  readonly faults: SiteFaults = {
    losesReply: 0,
    fails: 0,
    duplicates: 0,
    delayMsMax: 0,
    hangs: false,
    refuse: () => undefined,
  };
  readonly protectedVpg: ProtectedVpg;
  /** What a gateway is told, faster than an operator may ask for. */
  readonly pace = { heartbeatMs: 200, checkpointMs: 150 };
  /** Requests that arrived, as `METHOD /path`. */
  readonly requests: string[] = [];
  /** What was asked for hashes. */
  readonly hashAsks: ReturnType<typeof hashesSchema.parse>[] = [];
  /** What hashes are answered of in place of the journal, as a site that didn't read it would. */
  forgedImages: ReadonlyMap<number, Buffer> = new Map();
  /** Hashes are answered as a site does that reads its journal, what is damaged in it included. */
  readsJournal = false;
  /** What the last heartbeat said of the VPG. */
  lastStream: StreamState | undefined;
  readonly #server: Server;
  readonly #random: () => number;
  #url = "";
  readonly #held = new Set<ServerResponse>();
  readonly #serving = new Set<Promise<void>>();

  private constructor(site: Site, protectedVpg: ProtectedVpg, random: () => number) {
    this.site = site;
    this.protectedVpg = protectedVpg;
    this.#random = random;
    this.#server = createServer((request, response) => {
      // A gateway that dies cuts its requests off.
      const served = this.#serve(request, response).catch(() => void response.destroy());
      this.#serving.add(served);
      void served.finally(() => this.#serving.delete(served));
    });
  }

  static async start(input: CreateVpg, random: () => number = Math.random): Promise<GatewaySite> {
    const site: Site = { ...makeSite(), clock: new SystemClock() };
    const gatewaySite = new GatewaySite(site, await protect(site, input), random);
    await gatewaySite.listen();
    return gatewaySite;
  }

  get url(): string {
    return this.#url;
  }

  get vpgId() {
    return this.protectedVpg.vpg.vpgId;
  }

  async listen(): Promise<void> {
    const port = this.#url === "" ? 0 : Number(new URL(this.#url).port);
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("no address");
    this.#url = `http://127.0.0.1:${address.port}`;
  }

  /** From now on requests are answered again; those that hung are cut off. */
  answerAgain(): void {
    this.faults.hangs = false;
    for (const response of this.#held) response.destroy();
    this.#held.clear();
  }

  /** Answers nobody any more, and is done with whatever had come; `listen` takes the same port again. */
  async close(): Promise<void> {
    for (const response of this.#held) response.destroy();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all(this.#serving);
  }

  async checkpoints(): Promise<readonly ListedCheckpoint[]> {
    return (await listCheckpoints(this.site, this.vpgId, { limit: 1000 })).checkpoints;
  }

  /** The volume as the journal has it at a position, or at its end: every record in order over zeros. */
  async image(volume: number, upTo?: Position, sizeBytes?: number): Promise<Buffer> {
    const { definition } = this.protectedVpg.vpg;
    const known = definition.vms.flatMap((vm) => vm.volumes).find((entry) => entry.volume === volume);
    const image = Buffer.alloc(sizeBytes ?? known?.sizeBytes ?? 0);
    const listed = await this.site.objects.list(journalPrefix(this.vpgId));
    const places = listed.flatMap(({ key }) => {
      const place = parseBatchKey(key);
      return place === undefined ? [] : [{ key, ...place }];
    });
    const next = new Map<number, number>();
    for (const { key, session, batch } of places.sort((a, b) => a.session - b.session || a.batch - b.batch)) {
      if (batch !== (next.get(session) ?? 0)) continue;
      const bytes = await this.site.objects.get(key);
      const object = decodeObject(bytes);
      if (object.kind === "seal") continue;
      next.set(session, batch + 1);
      const { extents, frames, firstSequence } = object.header;
      for (let index = 0; index < extents.count; index += 1) {
        const sequence = firstSequence + (extents.sequenceDelta[index] ?? 0);
        if (extents.volume[index] !== volume) continue;
        if (upTo !== undefined && comparePositions({ session, sequence }, upTo) > 0) continue;
        const offset = extents.offset[index] ?? 0;
        const length = extents.length[index] ?? 0;
        if (extents.kind[index] === extentKinds.zero) {
          image.fill(0, offset, offset + length);
          continue;
        }
        const number = extents.frame[index] ?? 0;
        const frame = frames[number];
        if (frame === undefined) throw new Error("no frame");
        const raw = decodeFrame(object.header, number, bytes.subarray(frame.start, frame.start + frame.storedLength));
        const start = extents.frameOffset[index] ?? 0;
        image.set(raw.subarray(start, start + length), offset);
      }
    }
    return image;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const name = `${request.method} ${request.url}`;
    this.requests.push(name);
    if (this.faults.hangs) {
      this.#held.add(response);
      return;
    }
    let status = 200;
    let body: Uint8Array | string;
    try {
      if (this.#chance(this.faults.fails)) throw new Transient("injected: before");
      this.faults.refuse(name);
      const twice = request.method === "PUT" && this.#chance(this.faults.duplicates);
      const first = twice ? await this.#answer(request, Buffer.concat(parts)) : undefined;
      body = first ?? (await this.#answer(request, Buffer.concat(parts)));
      if (first !== undefined) await this.#answer(request, Buffer.concat(parts));
    } catch (error) {
      const known = error instanceof FarshoreError ? error : new Transient(String(error));
      status = known.status;
      body = JSON.stringify({ error: { name: known.name, message: known.message, details: known.details } });
    }
    if (this.faults.delayMsMax > 0) {
      await new Promise((resolve) => setTimeout(resolve, this.#random() * this.faults.delayMsMax));
    }
    if (this.#chance(this.faults.losesReply)) {
      response.destroy();
      return;
    }
    response.writeHead(status).end(body);
  }

  async #answer(request: IncomingMessage, body: Buffer): Promise<Uint8Array | string> {
    const { site } = this;
    const { source, recovery } = this.protectedVpg;
    const caller = request.headers.authorization === "Bearer recovery" ? recovery : source;
    const url = new URL(request.url ?? "", this.#url);
    const [, , , kind, first = "", term = "", session = "", batch = ""] = url.pathname.split("/");
    const json = (): unknown => JSON.parse(body.toString("utf8"));
    switch (`${request.method} ${kind}`) {
      case "POST heartbeat": {
        const heartbeat = parseInput(heartbeatSchema, json());
        this.lastStream = heartbeat.streams[0];
        const reply = await acceptHeartbeat(site, caller, heartbeat);
        await syncForStreams(site, caller, heartbeat);
        return JSON.stringify({ ...reply, nextHeartbeatMs: this.pace.heartbeatMs });
      }
      case "POST commands":
        await reportCommand(site, caller, first, parseInput(commandReportSchema, json()));
        return "{}";
      case "POST sessions": {
        const ask = parseInput(openSessionSchema, json());
        const opened = await openSession(site, caller, ask);
        await syncForSession(site, caller, ask, opened);
        return JSON.stringify({ ...opened, checkpointIntervalMs: this.pace.checkpointMs });
      }
      case "PUT syncs":
        await putPageHashes(site, caller, idSchema.parse(first), syncPlace(term, session, batch), body);
        return "{}";
      case "GET syncs":
        return getPageWants(site, caller, idSchema.parse(first), syncPlace(term, session, batch));
      case "PUT batches": {
        const ageMs = Number(request.headers["x-farshore-age-ms"]);
        const place = {
          vpgId: idSchema.parse(first),
          term: Number(term),
          session: Number(session),
          batch: Number(batch),
        };
        return JSON.stringify(await ingestBatch(site, caller, { ...place, body, ageMs }));
      }
      case "POST hashes":
        return this.#hashes(parseInput(hashesSchema, json()));
      case "GET vpgs":
        return JSON.stringify({ definition: (await getVpg(site, first)).definition });
      default:
        throw new NotFound(`no route ${request.method} ${request.url}`);
    }
  }

  async #hashes(ask: ReturnType<typeof hashesSchema.parse>): Promise<Uint8Array> {
    this.hashAsks.push(ask);
    if (this.readsJournal) {
      return imageHashes(this.site, this.protectedVpg.vpg, ask, () => Promise.resolve());
    }
    const image = this.forgedImages.get(ask.volume) ?? (await this.image(ask.volume, ask.upTo, ask.sizeBytes));
    const page = image.subarray(ask.page * 2048 * chunk, (ask.page + 1) * 2048 * chunk);
    const hashes: Uint8Array[] = [];
    if (ask.blocksOf === undefined) {
      for (let at = 0; at < page.length; at += chunk) hashes.push(hashChunk(page.subarray(at, at + chunk)).chunk);
    }
    for (const number of ask.blocksOf ?? []) {
      hashes.push(hashChunk(page.subarray(number * chunk, (number + 1) * chunk)).blocks);
    }
    return Buffer.concat(hashes);
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#random() < probability;
  }
}

const syncPlace = (session: string, volume: string, page: string): SyncPagePlace => ({
  session: Number(session),
  volume: Number(volume),
  page: Number(page),
});
