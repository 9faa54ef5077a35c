import { CommandFailed } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { View } from "#core/recovery/view.ts";
import type { CommandHandlers } from "../../gateway/control/handlers.ts";
import type { SiteClient } from "../../gateway/control/site-client.ts";
import { HttpJournal } from "../../gateway/export/http-journal.ts";
import { attachMs, bootMs, promoteMs } from "./limits.ts";

type AttachBody = Extract<CommandBody, { kind: "attach-volumes" }>;

/** What an operation left on a recovery gateway's machine; it outlives the process. */
interface OperationFolder {
  readonly body: AttachBody;
  attached: boolean;
  detached: boolean;
  promoted: boolean;
  readonly vms: Set<string>;
}

/** A recovery gateway's machine: the folders of its operations, and which recovered VMs run on it. */
export class RecoveredDisks {
  readonly folders = new Map<Id, OperationFolder>();
  /** Since when an operation's recovered VMs run, in true time. */
  readonly running = new Map<Id, number>();
  /** What must never be, as it was seen. */
  readonly violations: string[] = [];
}

export interface RecoveryMachine {
  readonly disks: RecoveredDisks;
  readonly client: SiteClient;
  readonly clock: Clock;
  readonly trueNow: () => number;
  readonly random: Random;
  readonly log: Log;
}

/**
 * The recovery half of a gateway, thinly: the same commands with the same answers over real views of the journal, but no scratch
 * files, no sockets and no hooks. Those are the real one's, which has tests of its own (gateway/export/).
 */
export class RecoveryModel {
  readonly handlers: CommandHandlers = {
    "attach-volumes": async (body) => {
      const before = this.#folder(body.operationId);
      if (before !== undefined && before.body.checkpointId !== body.checkpointId) {
        throw new CommandFailed(`operation ${body.operationId} has another checkpoint attached`);
      }
      const folder = before ?? { body, attached: false, detached: false, promoted: false, vms: new Set<string>() };
      this.#machine.disks.folders.set(body.operationId, folder);
      await this.#machine.clock.sleep(attachMs);
      const [first] = body.volumes;
      if (first !== undefined) await this.#views(body).get(first.volume)?.read(0, new Uint8Array(4096));
      folder.attached = true;
      return { exports: Object.fromEntries(body.volumes.map(({ volume }) => [String(volume), `nbd://sim/${volume}`])) };
    },
    "boot-vms": async (body) => {
      const folder = this.#folder(body.operationId);
      if (folder?.attached !== true)
        throw new CommandFailed(`operation ${body.operationId} has no volumes attached here`);
      await this.#machine.clock.sleep(bootMs);
      for (const vm of body.vms) folder.vms.add(vm);
      const { disks, trueNow } = this.#machine;
      if (body.mode === "live" && !disks.running.has(body.operationId)) disks.running.set(body.operationId, trueNow());
      return { booted: body.vms, withoutHook: [] };
    },
    "stop-vms": async (body) => {
      await this.#machine.clock.sleep(bootMs);
      this.#folder(body.operationId)?.vms.clear();
      this.#machine.disks.running.delete(body.operationId);
      return { stopped: body.vms };
    },
    "detach-volumes": async (body) => {
      const folder = this.#folder(body.operationId);
      if (folder === undefined) return {};
      if (folder.promoted) throw new CommandFailed(`operation ${body.operationId} was promoted`);
      if (folder.vms.size > 0) this.#machine.disks.violations.push("volumes were detached under running VMs");
      folder.detached = true;
      return {};
    },
    "promote-volumes": async (body) => {
      const folder = this.#folder(body.operationId);
      if (folder?.attached !== true)
        throw new CommandFailed(`operation ${body.operationId} has no volumes attached here`);
      await this.#machine.clock.sleep(promoteMs);
      if (!folder.promoted) await this.images(body.operationId);
      folder.promoted = true;
      return { bytes: folder.body.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
    },
  };
  readonly #machine: RecoveryMachine;
  readonly #opened = new Map<Id, ReadonlyMap<number, View>>();

  constructor(machine: RecoveryMachine) {
    this.#machine = machine;
  }

  attachedOperations(): readonly Id[] {
    const folders = [...this.#machine.disks.folders];
    return folders.flatMap(([id, { attached, detached }]) => (attached && !detached ? [id] : []));
  }

  /** The whole recovered volumes, as guests read them before they wrote anything. */
  async images(operationId: Id): Promise<ReadonlyMap<number, Uint8Array>> {
    const images = new Map<number, Uint8Array>();
    const folder = this.#folder(operationId);
    if (folder === undefined) return images;
    for (const [volume, view] of this.#views(folder.body)) {
      const image = Buffer.alloc(view.sizeBytes);
      await view.read(0, image);
      images.set(volume, image);
    }
    return images;
  }

  #folder(operationId: Id): OperationFolder | undefined {
    const folder = this.#machine.disks.folders.get(operationId);
    return folder?.detached === true ? undefined : folder;
  }

  #views(body: AttachBody): ReadonlyMap<number, View> {
    const known = this.#opened.get(body.operationId);
    if (known !== undefined) return known;
    const { client, clock, random, log } = this.#machine;
    const upTo: Position = body.upTo;
    const source = new HttpJournal({ routes: client, vpgId: body.vpgId, upTo, clock, random, log });
    const reader = new JournalReader(source);
    const views = body.volumes.map(({ volume, sizeBytes, upTo: own = upTo }) => {
      return [volume, new View({ reader, volume, sizeBytes, upTo: own })] as const;
    });
    const made = new Map(views);
    this.#opened.set(body.operationId, made);
    return made;
  }
}
