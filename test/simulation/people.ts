import { z } from "zod";
import { Transient } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import type { Operation } from "#core/protection/operation.ts";
import { createToken } from "#core/protection/tokens.ts";
import { operator } from "../kit/site.ts";
import type { Protection } from "./protection.ts";
import type { SimGateway } from "./sim-gateway.ts";
import type { SimSite } from "./sim-site.ts";
import { simVolumes } from "./volumes.ts";
import type { World } from "./world.ts";

/** What a site answered a person. */
export interface Said {
  readonly status: number;
  /** The error's name; "ok" without one. */
  readonly name: string;
  readonly json: unknown;
}

const errorSchema = z.object({ error: z.object({ name: z.string() }) });
const tokenSchema = z.object({ token: z.string() });
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
    const name = reply.statusCode < 400 ? "ok" : parsed.success ? parsed.data.error.name : String(reply.statusCode);
    this.#world.trace.detail(`ann ${method} ${path} at ${site.name}: ${name}`);
    return { status: reply.statusCode, name, json };
  }

  /** A gateway's token made anew: the old one ends, and whatever the gateway knows of its sessions is accepted. */
  async newToken(site: SimSite, gateway: SimGateway): Promise<void> {
    const said = await this.ask(site, "POST", "/tokens", { role: "gateway", name: gateway.name });
    gateway.token = tokenSchema.parse(said.json).token;
  }

  /** Makes the VPG of the protection's name, again when the one before was deleted. */
  async protect(protection: Protection): Promise<string> {
    const { name, site, source, recovery } = protection;
    const said = await this.ask(site, "POST", "/vpgs", {
      ...{ name, protectedSite: "elsewhere", sourceGateway: source.name, recoveryGateway: recovery.name },
      ...{ compute: "gateway", checkpointIntervalMs: 1000 },
      vms: [{ name: "vm", volumes: simVolumes.map((volume) => ({ ...volume, sectorBytes: 4096 })) }],
    });
    if (said.status >= 400) return said.name;
    const { vpgId } = vpgSchema.parse(said.json);
    protection.vpgIds.unshift(vpgId);
    return "ok";
  }

  /** Asks for an operation, again under the same id while no answer comes. */
  async start(protection: Protection, ask: { readonly kind: string; readonly options: object }): Promise<void> {
    const requestId = this.#newRequest(protection);
    protection.operationIds.push(requestId);
    await this.#patiently(protection, "POST", `/vpgs/${protection.vpgId}/operations`, { ...ask, requestId });
  }

  async decide(protection: Protection, operation: Operation, decision: "commit" | "rollback" | "stop"): Promise<void> {
    const body = decision === "stop" ? { decision, success: true, notes: "" } : { decision };
    await this.#patiently(protection, "POST", `/operations/${operation.operationId}/decision`, body);
  }

  async retarget(protection: Protection, operation: Operation, checkpoint: object): Promise<void> {
    const body = { checkpoint, requestId: this.#newRequest(protection) };
    await this.#patiently(protection, "POST", `/operations/${operation.operationId}/retarget`, body);
  }

  async retry(protection: Protection, operation: Operation): Promise<void> {
    await this.#patiently(protection, "POST", `/operations/${operation.operationId}/retry`, {});
  }

  #newRequest({ name }: Protection): Id {
    this.#requests += 1;
    return newId(this.#world.clock, this.#world.random(`request ${name} ${this.#requests}`));
  }

  async #patiently({ site }: Protection, method: string, path: string, body: unknown): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      try {
        const { name } = await this.ask(site, method, path, body);
        if (name !== "Transient") return;
      } catch (error) {
        if (!(error instanceof Transient)) throw error;
      }
      await this.#world.clock.sleep(askAgainMs);
    }
  }
}

const attemptsMax = 5;
const askAgainMs = 2000;
