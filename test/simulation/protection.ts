import type { Id } from "#core/ids.ts";
import type { Operation } from "#core/protection/operation.ts";
import { findVpg, type VpgRecord } from "#core/protection/vpg-store.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import type { GuestLog } from "./oracle/guest-log.ts";
import type { RecoveredDisks } from "./recovered-disks.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { SimGateway, SourceVms } from "./sim-gateway.ts";
import type { SimSite } from "./sim-site.ts";

/** A VPG with all that belongs to it: its site, its gateways, the source's disks and VMs, and what the guests know. */
export class Protection {
  readonly name: string;
  readonly site: SimSite;
  readonly source: SimGateway;
  readonly recovery: SimGateway;
  readonly disks: readonly SimDisk[];
  readonly vms: SourceVms;
  readonly recovered: RecoveredDisks;
  readonly log: GuestLog;
  /** Of the VPG that has the name now, then of those that had it before. */
  readonly vpgIds: Id[] = [];
  /** What people started, the newest last. */
  readonly operationIds: Id[] = [];
  /** Operations that the site's table may have lost, with their pins. */
  readonly forgotten = new Set<Id>();

  constructor(
    parts: Pick<Protection, "name" | "site" | "source" | "recovery" | "disks" | "vms" | "recovered" | "log">,
  ) {
    this.name = parts.name;
    this.site = parts.site;
    this.source = parts.source;
    this.recovery = parts.recovery;
    this.disks = parts.disks;
    this.vms = parts.vms;
    this.recovered = parts.recovered;
    this.log = parts.log;
  }

  get vpgId(): Id {
    const [vpgId] = this.vpgIds;
    if (vpgId === undefined) throw new Error(`${this.name} was never protected`);
    return vpgId;
  }

  vpg(): Promise<VpgRecord | undefined> {
    return findVpg(this.site.seen(), this.vpgId);
  }

  /** Those the site knows, the newest first. */
  async operations(): Promise<readonly Operation[]> {
    const site = this.site.seen();
    const found = await Promise.all(this.operationIds.map((id) => findOperation(site, id)));
    return found.filter((operation) => operation !== undefined).reverse();
  }

  /** The live operation or test that is open. */
  async operation(): Promise<Operation | undefined> {
    return (await this.operations()).find((operation) => !hasEnded(operation));
  }

  /** In one word, for the table of what met what: the phase of its operation, or how its source stands. */
  async state(): Promise<string> {
    const operation = await this.operation();
    if (operation !== undefined) return `${operation.kind} ${operation.phase}`;
    const vpg = await this.vpg();
    if (vpg !== undefined && vpg.role !== "Journal") return `role ${vpg.role}`;
    return this.source.status()?.stream?.mode ?? "gateway down";
  }
}
