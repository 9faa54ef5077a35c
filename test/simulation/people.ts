import { z } from "zod";
import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { Transient } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import { createToken } from "#core/protection/tokens.ts";
import { retentionLimits } from "#core/retention/limits.ts";
import type { Retention } from "#core/retention/policy.ts";
import { operator } from "../kit/site.ts";
import { clockSlackMs, historyMs, retention } from "./limits.ts";
import type { Protection, SiteOperation } from "./protection.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { SiteWire } from "./sim-gateway.ts";
import type { SimSite } from "./sim-site.ts";
import type { World } from "./world.ts";

/** What a site answered a person. */
export interface Said {
  readonly status: number;
  /** The error's name; "ok" without one. */
  readonly name: string;
  readonly json: unknown;
}

type JournalLimit = NonNullable<Retention["journalLimit"]>;

type Decision =
  | { readonly decision: "commit"; readonly reverseProtection?: boolean }
  | { readonly decision: "rollback" }
  | { readonly decision: "stop"; readonly success: true; readonly notes: string };

/** As a definition names it. */
export const volumeOf = ({ name, sizeBytes }: SimDisk) => ({ name, sizeBytes, sectorBytes: 4096 });

const errorSchema = z.object({ error: z.object({ name: z.string(), message: z.string() }) });
const tokenSchema = z.object({ token: z.string() });
const definitionSchema = z.object({
  revision: z.int(),
  definition: z.looseObject({ vms: z.array(z.looseObject({})) }),
});
const vpgSchema = z.object({ vpgId: idSchema });

/** Operators with the site's own API, by HTTP without a network: what they ask is answered, or the site is not there. */
export class People {
  readonly #world: World;
  readonly #tokens = new Map<string, string>();
  #requests = 0;

  constructor(world: World) {
    this.#world = world;
  }

  async register(site: SimSite): Promise<void> {
    if (this.#tokens.has(site.name)) return;
    const { token } = await createToken(site.seen(), { name: "ann", role: "operator" }, operator);
    this.#tokens.set(site.name, token);
  }

  /** Rejects with `Transient` when the site is not there, or dies before it answers. */
  async ask(site: SimSite, method: string, path: string, body?: unknown): Promise<Said> {
    const headers = { authorization: `Bearer ${this.#tokens.get(site.name)}`, "content-type": "application/json" };
    const text = body === undefined ? null : JSON.stringify(body);
    const reply = await site.serve({ method, url: `http://${site.name}.example/v1${path}`, headers, body: text });
    const json: unknown = JSON.parse(Buffer.from(reply.bytes).toString("utf8"));
    const parsed = errorSchema.safeParse(json);
    const error = parsed.data?.error ?? { name: String(reply.statusCode), message: "" };
    const name = reply.statusCode < 400 ? "ok" : error.name;
    const why = name === "ok" ? "" : `: ${error.message}`;
    this.#world.trace.detail(`ann ${method} ${path} at ${site.name}: ${name}${why}`);
    return { status: reply.statusCode, name, json };
  }

  /** A gateway's token made anew: the old one ends, and whatever the gateway knows of its sessions is accepted. */
  async newToken(wire: SiteWire, gatewayName: string): Promise<void> {
    const said = await this.ask(wire.site, "POST", "/tokens", { role: "gateway", name: gatewayName });
    wire.token = tokenSchema.parse(said.json).token;
  }

  /** Each site is made known to the other, which it may ask for reverse protection. */
  async introduce(site: SimSite, other: SimSite): Promise<void> {
    const url = `http://${other.name}.example`;
    const peer = { name: other.name, siteId: other.siteId, url, region: null, journal: true };
    await this.ask(site, "POST", "/peers", peer);
    site.peers.token = (await createToken(other.seen(), { name: site.name, role: "peer" }, operator)).token;
  }

  /** Makes the VPG of the protection's name, again when the one before was deleted. */
  async protect(protection: Protection): Promise<string> {
    const { name, home, away, source, recovery, configured } = protection;
    const said = await this.ask(home, "POST", "/vpgs", {
      ...{ name, protectedSite: away.name, sourceGateway: source.name, recoveryGateway: recovery.name },
      ...{ compute: "gateway", checkpointIntervalMs: 1000, historyMs, retention },
      vms: [{ name: "vm", volumes: configured.map(volumeOf) }],
    });
    if (said.status >= 400) return said.name;
    const { vpgId } = vpgSchema.parse(said.json);
    protection.vpgIds.unshift(vpgId);
    return "ok";
  }

  /** Asks the site that has the VPG for an operation, again under the same id while no answer comes. */
  async start(protection: Protection, ask: { readonly kind: string; readonly options: object }): Promise<void> {
    const body = { ...ask, requestId: this.#newRequest(protection) };
    const { site } = await protection.seat();
    await this.patiently(site, "POST", `/vpgs/${protection.vpgId}/operations`, body);
  }

  /** Makes the definition's volumes those of the configuration; answers what the site said. */
  async edit(protection: Protection): Promise<string> {
    const { home, vpgId, configured } = protection;
    const path = `/vpgs/${vpgId}/definition`;
    const said = await this.ask(home, "GET", path);
    if (said.name !== "ok") return said.name;
    const { revision, definition } = definitionSchema.parse(said.json);
    const vms = definition.vms.map((vm) => ({ ...vm, volumes: configured.map(volumeOf) }));
    const edited = { definition: { ...definition, vms }, revision, dryRun: false };
    return (await this.ask(home, "POST", path, edited)).name;
  }

  /** Gives the VPG's journal a limit, or takes it away; answers what the site that has the journal said. */
  async limit({ vpgId }: Protection, site: SimSite, journalLimit: JournalLimit | undefined): Promise<string> {
    const path = `/vpgs/${vpgId}/definition`;
    const said = await this.ask(site, "GET", path);
    if (said.name !== "ok") return said.name;
    const { revision, definition } = definitionSchema.parse(said.json);
    const limited = journalLimit === undefined ? retention : { ...retention, journalLimit };
    if (journalLimit !== undefined) this.#world.limited.add(vpgId);
    const edited = { definition: { ...definition, retention: limited }, revision, dryRun: false };
    return (await this.ask(site, "POST", path, edited)).name;
  }

  /** A delta-sync by hand. */
  async sync(protection: Protection): Promise<void> {
    const body = { requestId: this.#newRequest(protection) };
    const { site } = await protection.seat();
    await this.patiently(site, "POST", `/vpgs/${protection.vpgId}/sync`, body);
  }

  /** Keeps a checkpoint for a view, which isn't renewed. */
  async lease(site: SimSite, vpgId: Id, checkpoint: string, random: SeededRandom): Promise<void> {
    const { clock, leases } = this.#world;
    // By the site's clock: from one that is behind it ends so much earlier, once that is set right.
    const from = Math.min(clock.now(), site.clock.now());
    const leaseId = newId(clock, random);
    const { name } = await this.ask(site, "POST", `/vpgs/${vpgId}/leases/${leaseId}`, { checkpoint });
    if (name === "ok") leases.set(`${site.name} ${vpgId} ${checkpoint}`, from + retentionLimits.leaseMs - clockSlackMs);
  }

  async decide({ site, operation }: SiteOperation, body: Decision): Promise<void> {
    await this.patiently(site, "POST", `/operations/${operation.operationId}/decision`, body);
  }

  async retarget(protection: Protection, { site, operation }: SiteOperation, checkpoint: object): Promise<void> {
    const body = { checkpoint, requestId: this.#newRequest(protection) };
    await this.patiently(site, "POST", `/operations/${operation.operationId}/retarget`, body);
  }

  async retry({ site, operation }: SiteOperation): Promise<void> {
    await this.patiently(site, "POST", `/operations/${operation.operationId}/retry`, {});
  }

  #newRequest({ name }: Protection): Id {
    this.#requests += 1;
    return newId(this.#world.clock, this.#world.random(`request ${name} ${this.#requests}`));
  }

  /** Asks again while no answer comes; the error's name in the end, "ok" without one. */
  async patiently(site: SimSite, method: string, path: string, body?: unknown): Promise<string> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      try {
        const { name } = await this.ask(site, method, path, body);
        if (name !== "Transient") return name;
      } catch (error) {
        if (!(error instanceof Transient)) throw error;
      }
      await this.#world.clock.sleep(askAgainMs);
    }
    return "Transient";
  }
}

const attemptsMax = 5;
const askAgainMs = 2000;
