import { CommandFailed, Transient } from "#core/errors.ts";
import type { Position } from "#core/journal/position.ts";
import type { Clock } from "#core/ports.ts";
import { toHex } from "#core/protection/batch-row.ts";
import type { CommandBody, Final } from "#core/protection/command.ts";
import type { CommandContext } from "../control/handlers.ts";
import { withTimeout } from "../control/time-out.ts";
import { finalWaitMs } from "../limits.ts";
import type { DiskIdentity, KnownDisk, SourceState } from "../state/source-state.ts";
import type { SessionLog } from "../tap/session-log.ts";
import { durable } from "./durable.ts";

export type CloseVolumes = Extract<CommandBody, { readonly kind: "close-volumes" }>;
export type OpenVolumes = Extract<CommandBody, { readonly kind: "open-volumes" }>;

export interface ClosingParts {
  readonly vpgName: string;
  readonly state: SourceState;
  readonly sessionLog: SessionLog;
  readonly clock: Clock;
  readonly flushDisks: () => Promise<void>;
  readonly knowDisks: () => Promise<KnownDisk[]>;
  readonly identifyDisks: () => Promise<DiskIdentity[]>;
  /** Takes write access from the exports, as the closed mark says; their clients are dropped and their writes have ended. */
  readonly dropClients: () => Promise<void>;
  /** Resolves once writes are taken again. */
  readonly serveAgain: (signal: AbortSignal) => Promise<void>;
}

/**
 * Closes a VPG's disks at this gateway so that nothing is written that isn't in the journal, and opens them again. The mark is
 * durable before a client is dropped, and gone before one is let in: a process that dies between stays closed.
 */
export class Closing {
  readonly #parts: ClosingParts;
  /** The FINAL that this process appended, and for which operation. */
  #appended: { readonly operationId: string; readonly position: Position } | undefined;

  constructor(parts: ClosingParts) {
    this.#parts = parts;
  }

  async close(body: CloseVolumes, context: CommandContext): Promise<{ readonly final: Final | null }> {
    const { state, dropClients, vpgName } = this.#parts;
    const { operationId, vpgId } = body;
    const { closed, opened } = state.facts;
    if (closed !== null && closed.vpgId !== vpgId && body.term === null) {
      throw new CommandFailed(
        `disks of ${vpgName} were closed as those of another VPG, ${closed.vpgId}, by operation ${closed.operationId}`,
        { operationId: closed.operationId },
      );
    }
    if (opened === operationId) {
      throw new CommandFailed(`operation ${operationId} was undone here: the volumes of ${vpgName} are open again`);
    }
    if (closed !== null && closed.operationId !== operationId && body.term === null) {
      throw new CommandFailed(
        `the volumes of ${vpgName} are closed by operation ${closed.operationId}; farshore operation retry ${closed.operationId}`,
        { operationId: closed.operationId },
      );
    }
    const known = closed?.operationId === operationId ? closed.final : null;
    const term = body.term ?? closed?.term ?? null;
    const mark = { operationId, vpgId, term, disks: await this.#parts.knowDisks() };
    await state.save({ closed: { ...mark, final: known } });
    await dropClients();
    if (!body.final) return { final: null };
    if (known !== null) return { final: known };
    const final = await this.#final(body, context.signal);
    const disks = await this.#parts.identifyDisks();
    await state.save({ closed: { ...mark, final }, clean: true, acknowledgedBatch: final.batch, disks });
    return { final };
  }

  /** Also remembers that what still comes of the operation's close is late. A mark that came with another VPG's disk stays. */
  async open(
    { operationId }: Pick<OpenVolumes, "operationId">,
    context: CommandContext,
  ): Promise<Record<string, unknown>> {
    const { state, serveAgain } = this.#parts;
    const { closed, vpgId } = state.facts;
    const own = closed?.operationId === operationId && closed.vpgId === vpgId && closed.term === null;
    await state.save({ opened: operationId, ...(own ? { closed: null } : {}) });
    if (state.facts.closed === null) await serveAgain(context.signal);
    return {};
  }

  /** Within `finalWaitMs`: nothing is unlike the journal, the session is ended, and the site has all of it. */
  async #final(body: CloseVolumes, stop: AbortSignal): Promise<Final> {
    const { sessionLog, clock, vpgName } = this.#parts;
    try {
      return await withTimeout(clock, finalWaitMs, (signal) => this.#end(body, signal), stop);
    } catch (error) {
      stop.throwIfAborted();
      if (!(error instanceof Transient)) throw error;
      throw new CommandFailed(
        `the last writes of ${vpgName} did not reach the recovery site in time (mode ${sessionLog.mode})`,
        { mode: sessionLog.mode },
      );
    }
  }

  async #end({ operationId, others }: CloseVolumes, signal: AbortSignal): Promise<Final> {
    const { sessionLog, flushDisks, vpgName } = this.#parts;
    if (this.#appended?.operationId !== operationId) {
      await sessionLog.changes.until(() => sessionLog.whole || sessionLog.session === undefined, signal);
      await flushDisks();
      const position = sessionLog.final(operationId, others);
      if (position === undefined) {
        throw new CommandFailed(
          `the journal of ${vpgName} lacks something (mode ${sessionLog.mode}), so nothing can be proved of it`,
          { mode: sessionLog.mode },
        );
      }
      this.#appended = { operationId, position };
    }
    const { position } = this.#appended;
    await durable(sessionLog, position, signal);
    const { head } = sessionLog;
    if (head === undefined) throw new TypeError("what is durable was encoded");
    const hasCheckpoint = sessionLog.session?.checkpoints !== "barriers" || others !== undefined;
    const checkpoint = hasCheckpoint ? { session: position.session, sequence: position.sequence - 1 } : null;
    return { ...position, batch: head.batch, hash: toHex(head.hash), checkpoint };
  }
}
