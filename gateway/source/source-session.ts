import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { type FarshoreError, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import type { SiteAddress } from "../control/site-client.ts";
import { stateSaveMs } from "../limits.ts";
import { Shipper } from "../ship/shipper.ts";
import type { SourceState } from "../state/source-state.ts";
import type { SessionLog, SessionStart } from "../tap/session-log.ts";

/** Why a session ended although the process goes on. */
export type SessionEnd = { readonly kind: "fenced" | "lost"; readonly error: FarshoreError };

/** One opened session at work: its ship worker, its checkpoint timer, its trace in the state directory. */
export class SourceSession {
  readonly vpgId: Id;
  readonly session: number;
  /** Resolves when the site does not take this session's batches any more, or `stop` was called. */
  readonly ended: Promise<SessionEnd | undefined>;
  readonly #log: SessionLog;
  readonly #state: SourceState;
  readonly #shipper: Shipper;
  readonly #flushTimer: NodeJS.Timeout;
  readonly #saveTimer: NodeJS.Timeout;
  #resolveEnded: (end: SessionEnd | undefined) => void = () => undefined;
  #over = false;

  constructor(options: {
    readonly address: SiteAddress;
    readonly vpgId: Id;
    readonly reply: OpenSessionReply;
    /** The journal's volume numbers in the order of the log's volumes. */
    readonly journalVolumes: readonly number[];
    readonly log: SessionLog;
    readonly state: SourceState;
    readonly events: Log;
    /** Once a checkpoint interval, when the log was cut. */
    readonly onInterval: () => void;
  }) {
    const { reply, log, events } = options;
    this.vpgId = options.vpgId;
    this.session = reply.session;
    this.#log = log;
    this.#state = options.state;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    const place = {
      vpgId: options.vpgId,
      term: reply.term,
      session: reply.session,
      configRevision: reply.configRevision,
    };
    this.#shipper = new Shipper({ ...options.address, batchesUrl: reply.batchesUrl }, place, {
      encoded: (batch, storedBytes, buffers) => log.encoded(batch, storedBytes, buffers),
      acknowledged: (batch) => log.acknowledged(batch),
      troubled: (error) => events.warn("ship.troubled", { session: reply.session, error }),
      stopped: (error) => this.#end({ kind: error.name === "Fenced" ? "fenced" : "lost", error }),
      // What it held is gone with it; a new session compares the disks, and the guests have lost nothing.
      crashed: (cause) => {
        const error = new Transient(`the thread that ships batches died: ${cause.message}`, {}, { cause });
        this.#end({ kind: "lost", error });
      },
    });
    log.attach(
      {
        term: reply.term,
        session: reply.session,
        journalVolumes: options.journalVolumes,
        checkpoints: reply.barrier === undefined ? "markers" : "barriers",
      },
      this.#shipper,
      startOf(reply),
    );
    this.#flushTimer = setInterval(() => {
      log.flush();
      options.onInterval();
    }, reply.checkpointIntervalMs);
    this.#saveTimer = setInterval(() => {
      // A state directory that can't be written makes the next start compare more, and loses nothing.
      this.save().catch((error: unknown) => events.warn("state.not-saved", { error }));
    }, stateSaveMs);
  }

  /** The site takes nothing more of it. */
  get over(): boolean {
    return this.#over;
  }

  /** The site said so in a heartbeat. */
  fence(error: FarshoreError): void {
    this.#end({ kind: "fenced", error });
  }

  /** Makes the acknowledged position durable, if it moved. */
  async save(): Promise<void> {
    const acknowledgedBatch = this.#log.backlog?.acknowledgedBatch ?? -1;
    if (this.#log.session?.session !== this.session || acknowledgedBatch <= this.#state.facts.acknowledgedBatch) return;
    await this.#state.save({ acknowledgedBatch });
  }

  /** Ends timers and worker. What isn't acknowledged is given up, so detach or drain the log first. */
  async stop(): Promise<void> {
    clearInterval(this.#flushTimer);
    clearInterval(this.#saveTimer);
    await this.#shipper.stop();
    this.#end(undefined);
  }

  #end(end: SessionEnd | undefined): void {
    this.#over = true;
    this.#resolveEnded(end);
  }
}

function startOf(reply: OpenSessionReply): SessionStart {
  if (reply.continues) return { kind: "continues" };
  if (reply.sync === "initial" || reply.journalEnd.session === 0) {
    return { kind: "sync", label: "initial-sync", basis: { kind: "empty" } };
  }
  return { kind: "sync", label: "delta-sync", basis: { kind: "image", upTo: reply.journalEnd } };
}
