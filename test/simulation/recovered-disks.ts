import { CommandFailed } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import type { CommandHandlers } from "../../gateway/control/handlers.ts";
import type { SiteClient } from "../../gateway/control/site-client.ts";
import { TappedDevice } from "../../gateway/disk/tapped-device.ts";
import { HttpJournal } from "../../gateway/export/http-journal.ts";
import { exportNameOf } from "../../gateway/nbd/uri.ts";
import type { CapturedOperation, RecoveryHalf } from "../../gateway/recovery-half.ts";
import { type ExportMode, SourceDisks } from "../../gateway/source/source-disks.ts";
import { RelayTap } from "../../gateway/tap/relay-tap.ts";
import { Turns } from "../../gateway/turns.ts";
import { type Life, mortal } from "../kit/mortal.ts";
import { attachMs, bootMs, promoteMs } from "./limits.ts";
import type { Machine } from "./machine.ts";
import { SimExports } from "./sim-exports.ts";

type Body<Kind extends CommandBody["kind"]> = Extract<CommandBody, { kind: Kind }>;
export type AttachBody = Body<"attach-volumes">;

/** What an operation left on a recovery gateway's machine; it outlives the process. */
export interface OperationFolder {
  readonly body: AttachBody;
  attached: boolean;
  detached: boolean;
  promoted: boolean;
  /** Of a test: its VMs. */
  readonly vms: Set<string>;
  /** Of a live operation once it was booted. */
  machine: Machine | undefined;
  /** In which its disks were captured. */
  readonly terms: Set<number>;
}

/** A recovery gateway's machine: the folders of its operations. */
export class RecoveredDisks {
  readonly folders = new Map<Id, OperationFolder>();
  /** Operations whose volumes were taken away from VMs that ran. */
  readonly detachedUnderVms: Id[] = [];

  get machines(): readonly Machine[] {
    return [...this.folders.values()].flatMap(({ machine, detached }) => (machine && !detached ? [machine] : []));
  }
}

/** Images of recovered volumes, by the name of the volume. */
export type Images = ReadonlyMap<string, Uint8Array>;

export interface RecoveryMachine {
  readonly disks: RecoveredDisks;
  readonly client: SiteClient;
  readonly clock: Clock;
  readonly trueNow: () => number;
  readonly random: Random;
  readonly log: Log;
  readonly life: Life;
  readonly recover: (body: AttachBody, images: Images) => Machine;
}

interface Served {
  readonly exports: SimExports;
  readonly tap: RelayTap;
  readonly tapped: readonly TappedDevice[];
  exported: ExportMode;
}

/**
 * The recovery half of a gateway, thinly: the same commands with the same answers over real views of the journal and disks in memory,
 * but no scratch files, no sockets and no hooks. Those are the real one's, which has tests of its own (gateway/export/).
 */
export class RecoveryModel implements Omit<RecoveryHalf, "close"> {
  readonly handlers: CommandHandlers = {
    "attach-volumes": (body) => this.#turns.run(body.operationId, () => this.#attach(body)),
    "boot-vms": (body) => this.#turns.run(body.operationId, () => this.#bootVms(body)),
    "stop-vms": (body) => this.#turns.run(body.operationId, () => this.#stopVms(body)),
    "detach-volumes": (body) => this.#turns.run(body.operationId, () => this.#detach(body)),
    "promote-volumes": (body) => this.#turns.run(body.operationId, () => this.#promote(body)),
  };
  /** Commands of one operation run one after the other, as the real one's. */
  readonly #turns = new Turns<Id>();
  readonly #machine: RecoveryMachine;
  readonly #served = new Map<Id, Served>();

  constructor(machine: RecoveryMachine) {
    this.#machine = machine;
  }

  async resume(): Promise<void> {
    for (const folder of this.#machine.disks.folders.values()) {
      if (folder.machine !== undefined && !folder.detached && folder.terms.size === 0) this.#serve(folder);
    }
  }

  attachedOperations(): readonly Id[] {
    const folders = [...this.#machine.disks.folders];
    return folders.flatMap(([id, { attached, detached }]) => (attached && !detached ? [id] : []));
  }

  async captured(): Promise<readonly CapturedOperation[]> {
    const newest = new Map<Id, CapturedOperation>();
    for (const [operationId, { body, terms, detached }] of this.#machine.disks.folders) {
      const term = Math.max(0, ...terms);
      const { vpgId, vpgName } = body;
      if (detached || term <= (newest.get(vpgId)?.term ?? 0)) continue;
      newest.set(vpgId, { operationId, vpgId, vpgName, term });
    }
    return [...newest.values()];
  }

  async capture(body: Body<"protect-volumes">): Promise<SourceDisks> {
    const folder = this.#folder(body.promotedBy);
    if (folder?.promoted !== true) throw new CommandFailed(`operation ${body.promotedBy} has no promoted volumes here`);
    const served = this.#serve(folder);
    folder.terms.add(body.term);
    return this.#captured(folder, served);
  }

  async reopen({ operationId }: CapturedOperation): Promise<SourceDisks> {
    const folder = this.#folder(operationId);
    if (folder === undefined) throw new CommandFailed(`operation ${operationId} has no volumes attached here`);
    return this.#captured(folder, this.#serve(folder));
  }

  /** What serves the operation's disks. */
  exportsOf(operationId: Id): SimExports | undefined {
    return this.#served.get(operationId)?.exports;
  }

  /** The process died. */
  die(): void {
    for (const { exports } of this.#served.values()) exports.die();
    this.#served.clear();
  }

  async #attach(body: Body<"attach-volumes">): Promise<Record<string, unknown>> {
    const before = this.#folder(body.operationId);
    if (before !== undefined && before.body.checkpointId !== body.checkpointId) {
      throw new CommandFailed(`operation ${body.operationId} has another checkpoint attached`);
    }
    const folder = before ?? newFolder(body);
    this.#machine.disks.folders.set(body.operationId, folder);
    await this.#machine.clock.sleep(attachMs);
    const [first] = this.#views(body);
    await first?.view.read(0, new Uint8Array(4096));
    folder.attached = true;
    return { exports: Object.fromEntries(body.volumes.map(({ volume }) => [String(volume), `nbd://sim/${volume}`])) };
  }

  async #bootVms(body: Body<"boot-vms">): Promise<Record<string, unknown>> {
    const folder = this.#attachedFolder(body.operationId);
    await this.#machine.clock.sleep(bootMs);
    if (body.mode === "test") for (const vm of body.vms) folder.vms.add(vm);
    else await this.#boot(folder, body.vms);
    return { booted: body.vms, withoutHook: [] };
  }

  async #stopVms(body: Body<"stop-vms">): Promise<Record<string, unknown>> {
    await this.#machine.clock.sleep(bootMs);
    const folder = this.#folder(body.operationId);
    folder?.vms.clear();
    folder?.machine?.vms.running.clear();
    return { stopped: body.vms };
  }

  async #detach(body: Body<"detach-volumes">): Promise<Record<string, unknown>> {
    const folder = this.#folder(body.operationId);
    if (folder === undefined) return {};
    if (folder.promoted) throw new CommandFailed(`operation ${body.operationId} was promoted`);
    if (folder.vms.size > 0 || folder.machine?.runs === true)
      this.#machine.disks.detachedUnderVms.push(body.operationId);
    await this.#served.get(body.operationId)?.exports.close();
    this.#served.delete(body.operationId);
    folder.detached = true;
    return {};
  }

  async #promote(body: Body<"promote-volumes">): Promise<Record<string, unknown>> {
    const folder = this.#attachedFolder(body.operationId);
    await this.#machine.clock.sleep(promoteMs);
    folder.promoted = true;
    return { bytes: folder.body.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  }

  #attachedFolder(operationId: Id): OperationFolder {
    const folder = this.#folder(operationId);
    if (folder?.attached !== true) throw new CommandFailed(`operation ${operationId} has no volumes attached here`);
    return folder;
  }

  #folder(operationId: Id): OperationFolder | undefined {
    const folder = this.#machine.disks.folders.get(operationId);
    return folder?.detached === true ? undefined : folder;
  }

  async #boot(folder: OperationFolder, vms: readonly string[]): Promise<void> {
    const { recover, trueNow } = this.#machine;
    if (folder.machine === undefined) {
      const images = new Map<string, Uint8Array>();
      for (const { name, view } of this.#views(folder.body)) {
        const image = Buffer.alloc(view.sizeBytes);
        await view.read(0, image);
        images.set(name, image);
      }
      folder.machine ??= recover(folder.body, images);
      folder.machine.vms.bootedAt = trueNow();
    }
    this.#serve(folder);
    for (const vm of vms) folder.machine.vms.running.add(vm);
  }

  #serve(folder: OperationFolder): Served {
    const { machine, body, terms } = folder;
    const known = this.#served.get(body.operationId);
    if (known !== undefined) return known;
    if (machine === undefined) throw new CommandFailed(`operation ${body.operationId} was never booted`);
    const { life, log } = this.#machine;
    const exports = new SimExports();
    const tap = new RelayTap();
    const fault = (error: unknown): void => log.error("tap.fault", { error });
    const tapped = machine.disks.map((disk, at) => new TappedDevice(mortal(disk.open(), life), tap, at, fault));
    const exported = terms.size === 0;
    if (exported) {
      for (const [at, disk] of machine.disks.entries()) {
        const device = tapped[at];
        if (device !== undefined) exports.addExport(exportNameOf(body.vpgName, "vm", disk.name), device);
      }
    }
    const served: Served = { exports, tap, tapped, exported: exported ? "read-write" : "absent" };
    this.#served.set(body.operationId, served);
    return served;
  }

  #captured({ body, machine }: OperationFolder, served: Served): SourceDisks {
    const { operationId, vpgName } = body;
    const { exported, exports, tap, tapped } = served;
    served.exported = "absent";
    const pathOf = ({ name }: { readonly name: string }): string => `/${operationId}/${name}`;
    const known = machine?.disks ?? [];
    return new SourceDisks({
      ...{ vpgName, promotedBy: operationId, server: exports, exported },
      identifyDisk: async (disk) => {
        const found = known.find((each) => pathOf(each) === disk.path);
        return { ...disk, identity: disk.path, modifiedAt: `${found?.changes}` };
      },
      disks: known.flatMap((disk, at) => {
        const device = tapped[at];
        return device === undefined ? [] : [{ vmName: "vm", name: disk.name, path: pathOf(disk), device: disk.open() }];
      }),
      tapWith: (receiver) => {
        tap.passTo(receiver);
        return [...tapped];
      },
      release: async () => tap.passTo(undefined),
    });
  }

  #views(body: AttachBody): readonly { readonly name: string; readonly view: View }[] {
    const { client, clock, random, log } = this.#machine;
    const { vpgId, upTo, checkpointId } = body;
    const source = new HttpJournal({ routes: client, vpgId, upTo, checkpoint: checkpointId, clock, random, log });
    const reader = new JournalReader(source);
    return body.volumes.map(({ volume, name, sizeBytes, upTo: own = upTo }) => {
      return { name, view: new View({ reader, volume, sizeBytes, upTo: own }) };
    });
  }
}

function newFolder(body: AttachBody): OperationFolder {
  return {
    ...{ body, attached: false, detached: false, promoted: false },
    ...{ vms: new Set<string>(), machine: undefined, terms: new Set<number>() },
  };
}
