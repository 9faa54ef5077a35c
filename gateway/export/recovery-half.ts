/**
 * The recovery side of a gateway: attaches, boots, stops, detaches and promotes recovered operations as the site commands.
 * Every command writes what it intends, acts, and writes that it is done, so it may be repeated and killed at any point.
 * One process at a time uses the directory: the lock of the gateway's state directory sees to that.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { CommandFailed, InvalidInput } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock, Log } from "#core/ports.ts";
import type { CommandBody } from "#core/protection/command.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import type { VmHooks } from "../config.ts";
import type { CommandContext, CommandHandlers } from "../control/handlers.ts";
import { socketPathBytesMax } from "../nbd/limits.ts";
import type { CapturedOperation, RecoveryHalf } from "../recovery-half.ts";
import type { SourceDisks } from "../source/source-disks.ts";
import { Turns } from "../turns.ts";
import { AttachedOperation, socketPathOf } from "./attached-operation.ts";
import { sweepMs } from "./limits.ts";
import {
  type AttachBody,
  foldersIn,
  moveToKept,
  OperationFolder,
  prepareDirectory,
  sweepKept,
} from "./operation-folder.ts";
import { orAborted } from "./or-aborted.ts";
import { type HookOperation, RecoveredVms } from "./vm-hooks.ts";

export interface RecoveryHalfOptions {
  /** Absolute: scratch and local disks. Short enough for the path of a socket in it. */
  readonly directory: string;
  /** By VM name. */
  readonly hooks: ReadonlyMap<string, VmHooks>;
  /** Absolute: where hooks run. */
  readonly hookDirectory: string;
  /** Opens the journal that views of the checkpoint read up to the position; what waits in it ends with the signal. Does no I/O. */
  readonly journal: (vpgId: Id, upTo: Position, signal: AbortSignal, checkpoint: string) => JournalSource;
  readonly clock: Clock;
  readonly log: Log;
}

type Body<Kind extends CommandBody["kind"]> = Extract<CommandBody, { kind: Kind }>;

interface Opened {
  readonly attached: AttachedOperation;
  readonly source: JournalSource;
  readonly journal: AbortController;
}

/** Throws `InvalidInput` when the directory's path leaves no room for a socket's name. Nothing is exported before `resume`. */
export async function openRecoveryHalf(options: RecoveryHalfOptions): Promise<RecoveryHalf> {
  const { directory } = options;
  const socketBytes = Buffer.byteLength(path.join(directory, "s", "0123456789.sock"));
  if (socketBytes > socketPathBytesMax) {
    throw new InvalidInput(
      `the recovery directory's path is ${socketBytes - socketPathBytesMax} bytes too long for the sockets in it: ${directory}`,
      { directory },
    );
  }
  await prepareDirectory(directory);
  // What stands there is of a process that was killed: this one alone uses the directory.
  await rm(path.join(directory, "s"), { recursive: true, force: true });
  await mkdir(path.join(directory, "s"));
  // Who can open a socket has the disk.
  await chmod(directory, 0o700);
  return new Recovery(options);
}

class Recovery implements RecoveryHalf {
  readonly handlers: CommandHandlers = {
    "attach-volumes": (body, context) => this.#turns.run(body.operationId, () => this.#attach(body, context)),
    "boot-vms": (body, context) => this.#turns.run(body.operationId, () => this.#boot(body, context)),
    "stop-vms": (body, context) => this.#turns.run(body.operationId, () => this.#stop(body, context)),
    "detach-volumes": (body) => this.#turns.run(body.operationId, () => this.#detach(body)),
    "promote-volumes": (body, context) => this.#turns.run(body.operationId, () => this.#promote(body, context)),
  };
  readonly #options: RecoveryHalfOptions;
  readonly #vms: RecoveredVms;
  readonly #opened = new Map<Id, Opened>();
  /** Commands of one operation run one after the other. */
  readonly #turns = new Turns<Id>();
  #sweeper: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: RecoveryHalfOptions) {
    this.#options = options;
    this.#vms = new RecoveredVms({ ...options, workingDirectory: options.hookDirectory });
  }

  /** An operation that can't be opened again is logged and left alone: the others are served, and its command may be repeated. */
  async resume(): Promise<void> {
    for (const folder of await foldersIn(this.#options.directory)) {
      await this.#turns
        .run(folder.operationId, () => this.#resumeOne(folder))
        .catch((error: unknown) => {
          this.#options.log.error("recovery.resume-failed", { operationId: folder.operationId, error });
        });
    }
    await this.#sweep();
    this.#sweeper = setInterval(() => void this.#sweep(), sweepMs);
    this.#sweeper.unref();
  }

  async captured(): Promise<readonly CapturedOperation[]> {
    const newest = new Map<Id, CapturedOperation>();
    for (const folder of await foldersIn(this.#options.directory)) {
      const [body, term] = [await folder.attachBody(), await folder.capturedTerm()];
      if (body === undefined || term === undefined || term <= (newest.get(body.vpgId)?.term ?? 0)) continue;
      newest.set(body.vpgId, { operationId: folder.operationId, vpgId: body.vpgId, vpgName: body.vpgName, term });
    }
    return [...newest.values()];
  }

  capture(body: Body<"protect-volumes">): Promise<SourceDisks> {
    const operationId = body.promotedBy;
    return this.#turns.run(operationId, async () => {
      const folder = this.#folder(operationId);
      const attachBody = await folder.attachBody();
      if (attachBody === undefined || (await folder.promotedBytes()) === undefined) {
        throw new CommandFailed(`operation ${operationId} has no promoted volumes here`, { operationId });
      }
      if (volumesText(attachBody) !== volumesText(body)) {
        throw new CommandFailed(`the volumes of operation ${operationId} are not those to be protected`, {
          operationId,
        });
      }
      const { attached } = await this.#open(folder, attachBody);
      await folder.recordCaptured(body.term);
      return attached.capture();
    });
  }

  reopen({ operationId }: CapturedOperation): Promise<SourceDisks> {
    return this.#turns.run(operationId, async () => {
      const folder = this.#folder(operationId);
      const body = await folder.attachBody();
      if (body === undefined) throw notAttached(operationId);
      return (await this.#open(folder, body)).attached.capture();
    });
  }

  attachedOperations(): readonly Id[] {
    return [...this.#opened.keys()];
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    // Twice, since a command at work may just have opened one. Those that wait for a journal end with it.
    await this.#closeAll();
    await this.#turns.settled();
    await this.#closeAll();
    await this.#sweeping;
  }

  async #resumeOne(folder: OperationFolder): Promise<void> {
    if (await folder.isDetached()) {
      await moveToKept(this.#options.directory, folder);
      return;
    }
    const body = await folder.attachBody();
    // What was captured once is served by its capture alone, and not at all when other disks have followed it.
    if (body === undefined || !(await folder.isAttached()) || (await folder.capturedTerm()) !== undefined) return;
    await this.#open(folder, body);
  }

  async #attach(body: AttachBody, { signal }: CommandContext): Promise<Record<string, unknown>> {
    const folder = this.#folder(body.operationId);
    await this.#finishDetach(folder);
    const before = await folder.attachBody();
    if (before !== undefined && !sameImages(before, body)) {
      throw new CommandFailed(
        `operation ${body.operationId} has volumes of checkpoint ${before.checkpointId} attached; detach them first`,
        { operationId: body.operationId, checkpointId: before.checkpointId },
      );
    }
    if (before === undefined) await folder.recordAttach(body);
    const opened = await this.#open(folder, before ?? body);
    // The first question to the journal: what is wrong with it fails the command, not a guest's read.
    const [first] = body.volumes;
    if (first !== undefined && (await folder.promotedBytes()) === undefined) {
      await orAborted(opened.source.batchesTouching(first.volume, 0, body.upTo), signal);
    }
    return { exports: opened.attached.exports() };
  }

  async #boot(body: Body<"boot-vms">, context: CommandContext): Promise<Record<string, unknown>> {
    const operation = await this.#hookOperation(body.operationId, context);
    if (operation === undefined) throw notAttached(body.operationId);
    return { ...(await this.#vms.boot(body.vms, operation)) };
  }

  /** VMs of an operation whose volumes are not attached were not booted, or are stopped; one without a record may be lost. */
  async #stop(body: Body<"stop-vms">, context: CommandContext): Promise<Record<string, unknown>> {
    const operation = await this.#hookOperation(body.operationId, context);
    if (operation !== undefined) return { ...(await this.#vms.stop(body.vms, operation)) };
    if ((await this.#folder(body.operationId).attachBody()) === undefined) {
      const facts = { ...body, checkpointId: "", volumes: [] };
      await this.#vms.assertStopped(body.vms, { body: facts, exports: {}, signal: context.signal });
    }
    return { stopped: [] };
  }

  async #detach(body: Body<"detach-volumes">): Promise<Record<string, unknown>> {
    const folder = this.#folder(body.operationId);
    if ((await folder.promotedBytes()) !== undefined) {
      throw new CommandFailed(`operation ${body.operationId} was promoted: its volumes are production disks now`, {
        operationId: body.operationId,
      });
    }
    if ((await folder.attachBody()) !== undefined && !(await folder.isDetached())) {
      await folder.recordDetached(this.#options.clock.now() + body.keepScratchMs);
    }
    await this.#closeOne(body.operationId);
    await this.#finishDetach(folder);
    await this.#sweep();
    return {};
  }

  async #promote(body: Body<"promote-volumes">, context: CommandContext): Promise<Record<string, unknown>> {
    const folder = this.#folder(body.operationId);
    const before = await folder.promotedBytes();
    if (before !== undefined) return { bytes: before };
    const attachBody = await folder.attachBody();
    if (attachBody === undefined || !(await folder.isAttached())) throw notAttached(body.operationId);
    const { attached, journal } = await this.#open(folder, attachBody);
    const bytes = await attached.promote(context.signal, (done, total) => context.progress(done, total, "bytes"));
    await folder.recordPromoted(bytes);
    journal.abort(new Error("the volumes are local now"));
    return { bytes };
  }

  /** Opens and serves the operation's volumes unless they are. */
  async #open(folder: OperationFolder, body: AttachBody): Promise<Opened> {
    const { operationId } = folder;
    const known = this.#opened.get(operationId);
    if (known !== undefined) return known;
    if (this.#closed) throw new CommandFailed("the gateway is stopping", { operationId });
    const { directory, log } = this.#options;
    const journal = new AbortController();
    const source = this.#options.journal(body.vpgId, body.upTo, journal.signal, body.checkpointId);
    const socketPath = socketPathOf(directory, operationId);
    const captured = (await folder.capturedTerm()) !== undefined;
    const attached = await AttachedOperation.open({ folder, body, socketPath, source, log, captured });
    const opened = { attached, source, journal };
    this.#opened.set(operationId, opened);
    return opened;
  }

  async #closeOne(operationId: Id): Promise<void> {
    const opened = this.#opened.get(operationId);
    if (opened === undefined) return;
    this.#opened.delete(operationId);
    const closing = opened.attached.close();
    // The clients are dropped: what still waits for the journal is for nobody.
    opened.journal.abort(new Error("the export is closed"));
    await closing;
  }

  /** All are closed before the first error is thrown. */
  async #closeAll(): Promise<void> {
    const closed = await Promise.allSettled(this.attachedOperations().map((id) => this.#closeOne(id)));
    for (const result of closed) if (result.status === "rejected") throw result.reason;
  }

  async #finishDetach(folder: OperationFolder): Promise<void> {
    if (await folder.isDetached()) await moveToKept(this.#options.directory, folder);
  }

  async #hookOperation(operationId: Id, context: CommandContext): Promise<HookOperation | undefined> {
    const folder = this.#folder(operationId);
    const body = await folder.attachBody();
    if (body === undefined || !(await folder.isAttached()) || (await folder.isDetached())) return undefined;
    const { attached } = await this.#open(folder, body);
    return { folder, body, exports: attached.exports(), signal: context.signal };
  }

  /** One after the other. */
  #sweep(): Promise<void> {
    const { directory, clock, log } = this.#options;
    this.#sweeping = this.#sweeping
      .then(() => sweepKept(directory, clock.now()))
      // Only space is lost; the next sweep tries again.
      .catch((error: unknown) => log.error("recovery.sweep-failed", { error }));
    return this.#sweeping;
  }

  #folder(operationId: Id): OperationFolder {
    return new OperationFolder(this.#options.directory, operationId);
  }
}

function notAttached(operationId: Id): CommandFailed {
  return new CommandFailed(`operation ${operationId} has no volumes attached here`, { operationId });
}

function volumesText({ vpgId, volumes }: Pick<Body<"protect-volumes">, "vpgId" | "volumes">): string {
  const facts = volumes.map((each) => [each.volume, each.vmName, each.name, each.sizeBytes, each.sectorBytes]);
  return JSON.stringify([vpgId, facts.sort((left, right) => Number(left[0]) - Number(right[0]))]);
}

function sameImages(left: AttachBody, right: AttachBody): boolean {
  const facts = ({ vpgId, mode, upTo, volumes }: AttachBody): string =>
    JSON.stringify([
      vpgId,
      mode,
      upTo.session,
      upTo.sequence,
      volumes.map((v) => [v.volume, v.sizeBytes, v.sectorBytes, v.upTo]),
    ]);
  return facts(left) === facts(right);
}
