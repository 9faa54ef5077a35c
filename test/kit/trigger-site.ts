import type { CreateVpg } from "#core/api/site-api.ts";
import { type Id, newId } from "#core/ids.ts";
import type { Clock, Notice } from "#core/ports.ts";
import { acceptHeartbeat } from "#core/protection/heartbeat.ts";
import type { Caller, Site } from "#core/site.ts";
import type { Incident } from "#core/trigger/incident.ts";
import { monitor } from "#core/trigger/monitor.ts";
import { type TriggerPolicy, triggerPolicySchema } from "#core/trigger/policy.ts";
import { listIncidents } from "#core/trigger/store.ts";
import { type ProtectedShop, protectShop, shop } from "./failover-site.ts";
import { noWorkflows } from "./site.ts";

/** How often a test's monitor looks. */
export const everyMs = 5000;

export const approver: Caller = { name: "ada", role: "approver", gatewayId: null };

export const shopWith = (trigger: Partial<TriggerPolicy>): CreateVpg => ({
  ...shop,
  trigger: triggerPolicySchema.parse({ acceptTwoCopies: "both copies only read from this data", ...trigger }),
});

/** A clock that also jumps, as one that was set anew does. */
class JumpingClock implements Clock {
  readonly #inner: Clock;
  offsetMs = 0;

  constructor(inner: Clock) {
    this.#inner = inner;
  }

  now(): number {
    return this.#inner.now() + this.offsetMs;
  }

  monotonic(): number {
    return this.#inner.monotonic();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#inner.sleep(ms, signal);
  }
}

/** The shop at a site whose executions are begun and do nothing: what starts, and how often, is what is looked at. */
export class TriggerSite {
  readonly shop: ProtectedShop;
  readonly site: Site;
  readonly clock: JumpingClock;
  readonly notices: Notice[] = [];
  readonly started: string[] = [];

  private constructor(protectedShop: ProtectedShop) {
    this.shop = protectedShop;
    this.clock = new JumpingClock(protectedShop.clock);
    this.site = {
      ...protectedShop.site,
      clock: this.clock,
      workflows: { ...noWorkflows, start: async (_machine, name) => void this.started.push(name) },
      notify: { publish: async (notice) => void this.notices.push(notice) },
    };
  }

  static async make(trigger: Partial<TriggerPolicy>): Promise<TriggerSite> {
    const made = new TriggerSite(await protectShop(shopWith(trigger)));
    // What was ingested at the beginning is a sign of life of its own.
    await made.pass(60_000);
    return made;
  }

  async pass(ms: number): Promise<void> {
    await this.shop.clock.advance(ms);
  }

  beat(who: "source" | "recovery"): Promise<unknown> {
    const { site } = this;
    const processId = newId(site.clock, site.random);
    const heartbeat = { version: "1", sampledAt: 0, processId, streams: [], attachedOperations: [] };
    return acceptHeartbeat(site, this.shop[who], heartbeat);
  }

  /** Time passes up to the next look; the recovery gateway is heard, the source as told. */
  async look(source: "heard" | "silent" = "silent", times = 1, site: Site = this.site): Promise<void> {
    for (let count = 0; count < times; count += 1) {
      await this.pass(everyMs);
      await this.beat("recovery");
      if (source === "heard") await this.beat("source");
      await monitor(site, everyMs);
    }
  }

  incidents(): Promise<readonly Incident[]> {
    return listIncidents(this.site);
  }

  /** Ids of all operations there are. */
  async operations(): Promise<readonly Id[]> {
    const { items } = await this.site.table.query("operations");
    return items.map(({ sk }) => sk as Id);
  }
}
