import type { Id } from "#core/ids.ts";
import type { Operation } from "#core/protection/operation.ts";
import { findVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { listOperations } from "#core/recovery/operation-view.ts";
import type { Machine } from "./machine.ts";
import type { OperationFolder } from "./recovered-disks.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { SimGateway } from "./sim-gateway.ts";
import type { SimSite } from "./sim-site.ts";
import { simVolumes } from "./volumes.ts";

/** An operation and the site that runs it. */
export interface SiteOperation {
  readonly site: SimSite;
  readonly operation: Operation;
}

/** A VPG with all that belongs to it: two sites that take turns, a gateway at each, and the machines that its VMs ran on. */
export class Protection {
  readonly name: string;
  /** The site that journals it at first. */
  readonly home: SimSite;
  /** Where its first disks are. */
  readonly away: SimSite;
  /** The gateway of the first disks, at `away`. */
  readonly source: SimGateway;
  /** At `home`. */
  readonly recovery: SimGateway;
  /** Names of the volumes in the configuration file of `source`. */
  readonly file = new Set(simVolumes.map(({ name }) => name));
  /** Of the VPG that has the name now, then of those that had it before. */
  readonly vpgIds: Id[] = [];
  /** Operations that a site's table may have lost, with their pins. */
  readonly forgotten = new Set<Id>();
  /** Of gateways that somebody said were lost: what still writes there is nobody's production. */
  readonly givenUp = new Set<Machine>();
  /** Names of volumes by the journal's numbers, of every VPG that had the name. */
  readonly #names = new Map<string, string>();

  constructor(parts: Pick<Protection, "name" | "home" | "away" | "source" | "recovery">) {
    this.name = parts.name;
    this.home = parts.home;
    this.away = parts.away;
    this.source = parts.source;
    this.recovery = parts.recovery;
  }

  get sites(): readonly SimSite[] {
    return [this.home, this.away];
  }

  get gateways(): readonly SimGateway[] {
    return [this.source, this.recovery];
  }

  /** Oldest first. */
  get machines(): readonly Machine[] {
    return this.gateways.flatMap(({ machines }) => machines).sort((left, right) => left.order - right.order);
  }

  /** Whose disks its guests had from the first. */
  get first(): Machine {
    const [machine] = this.source.machines;
    if (machine === undefined) throw new Error(`${this.name} has no first disks`);
    return machine;
  }

  /** Of the first disks those that the configuration names. */
  get configured(): readonly SimDisk[] {
    return this.first.disks.filter(({ name }) => this.file.has(name));
  }

  get vpgId(): Id {
    const [vpgId] = this.vpgIds;
    if (vpgId === undefined) throw new Error(`${this.name} was never protected`);
    return vpgId;
  }

  vpgAt(site: SimSite): Promise<VpgRecord | undefined> {
    return findVpg(site.seen(), this.vpgId);
  }

  /** The site that people ask: that has the journal, or else runs it; by what the tables say. */
  async seat(): Promise<{ readonly site: SimSite; readonly vpg: VpgRecord | undefined }> {
    const found = await Promise.all(this.sites.map(async (site) => ({ site, vpg: await this.vpgAt(site) })));
    const rank = (vpg: VpgRecord | undefined): number => {
      if (vpg === undefined || vpg.deleted || (vpg.role !== "Journal" && vpg.role !== "Runs")) return 0;
      return vpg.term * 2 + (vpg.role === "Journal" ? 1 : 0);
    };
    const [best] = found.sort((left, right) => rank(right.vpg) - rank(left.vpg));
    return best ?? { site: this.home, vpg: undefined };
  }

  other(site: SimSite): SimSite {
    return site === this.home ? this.away : this.home;
  }

  gatewayAt(site: SimSite): SimGateway {
    return site === this.home ? this.recovery : this.source;
  }

  /** The gateway that replicates to that site. */
  gatewayTo(site: SimSite): SimGateway {
    return site === this.home ? this.source : this.recovery;
  }

  /** What operations left on the gateways' machines. */
  folders(): readonly { readonly gateway: SimGateway; readonly operationId: Id; readonly folder: OperationFolder }[] {
    return this.gateways.flatMap((gateway) =>
      [...gateway.recovered.folders].map(([operationId, folder]) => ({ gateway, operationId, folder })),
    );
  }

  /** Whose writes the checkpoints of a term show; undefined when nobody captured in it. */
  machineOf(vpgId: Id, term: number): Machine | undefined {
    const captured = this.folders().find(({ folder }) => folder.body.vpgId === vpgId && folder.terms.has(term));
    return captured === undefined && term === 1 ? this.first : captured?.folder.machine;
  }

  /** Learns what numbers the definition gives its volumes. */
  learn({ definition, vpgId }: VpgRecord): void {
    for (const { volumes } of definition.vms) {
      for (const { volume, name } of volumes) this.#names.set(`${vpgId} ${volume}`, name);
    }
  }

  nameOf(vpgId: Id, volume: number): string {
    const name = this.#names.get(`${vpgId} ${volume}`);
    if (name === undefined) throw new Error(`volume ${volume} of ${this.name} has no name`);
    return name;
  }

  /** Those the sites know, the newest first. */
  async operations(): Promise<readonly SiteOperation[]> {
    const all: SiteOperation[] = [];
    for (const site of this.sites) {
      for (const { vpgId, operationId } of await listOperations(site.seen())) {
        if (!this.vpgIds.includes(vpgId)) continue;
        const operation = await findOperation(site.seen(), operationId);
        if (operation !== undefined) all.push({ site, operation });
      }
    }
    return all.sort(({ operation: left }, { operation: right }) => right.createdAt - left.createdAt);
  }

  async openOperations(): Promise<readonly SiteOperation[]> {
    return (await this.operations()).filter(({ operation }) => !hasEnded(operation));
  }

  /** In one word, for the table of what met what: the phase of its operation, or how it stands. */
  async state(): Promise<string> {
    const [open] = await this.openOperations();
    if (open !== undefined) return `${open.operation.kind} ${open.operation.phase}`;
    const { site, vpg } = await this.seat();
    if (vpg !== undefined && vpg.role !== "Journal") return `role ${vpg.role}`;
    const turned = site === this.home ? "" : "turned, ";
    return `${turned}${this.gatewayTo(site).status(this.vpgId)?.stream?.mode ?? "gateway down"}`;
  }
}
