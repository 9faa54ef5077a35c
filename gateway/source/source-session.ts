import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import { type FarshoreError, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log } from "#core/ports.ts";
import type { SiteAddress } from "../control/site-client.ts";
import { rateLookMs, stateSaveMs } from "../limits.ts";
import type { SourceState } from "../state/source-state.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { SessionStart } from "../tap/session-types.ts";
import type { SegmentShipper, SourceHost } from "./source-host.ts";

/** Why a session ended although the process goes on. */
export type SessionEnd = { readonly kind: "fenced" | "lost"; readonly error: FarshoreError };

/** One opened session at work: its ship worker, its checkpoint timer, its trace in the state directory. */
export class SourceSession {
  readonly vpgId: Id;
  readonly session: number;
  /** Of the definition that it was opened by. */
  readonly configRevision: number;
  /** Who this gateway is, where the VPG has several. */
  readonly gatewayId: Id | undefined;
  /** Resolves when the site does not take this session's batches any more, or `stop` was called. */
  readonly ended: Promise<SessionEnd | undefined>;
  readonly #log: SessionLog;
  readonly #state: SourceState;
  readonly #shipper: SegmentShipper;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
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
    readonly clock: Clock;
    readonly events: Log;
    readonly host: Pick<SourceHost, "openShipper">;
    /** Once a checkpoint interval, when the log was cut. */
    readonly onInterval: () => void;
    /** Bytes a second that may be shipped now; undefined for no limit. */
    readonly rate: () => number | undefined;
    /** "seed": its session makes no checkpoint. */
    readonly purpose?: OpenSession["purpose"];
  }) {
    const { reply, log, events } = options;
    this.vpgId = options.vpgId;
    this.session = reply.session;
    this.configRevision = reply.configRevision;
    this.gatewayId = reply.barrier?.gatewayId;
    this.#log = log;
    this.#state = options.state;
    this.#clock = options.clock;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    const place = {
      vpgId: options.vpgId,
      term: reply.term,
      session: reply.session,
      configRevision: reply.configRevision,
    };
    this.#shipper = options.host.openShipper({ ...options.address, batchesUrl: reply.batchesUrl }, place, {
      encoded: (batch, storedBytes, buffers, hash) => log.encoded(batch, storedBytes, buffers, hash),
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
        checkpoints: options.purpose === "seed" ? "none" : reply.barrier === undefined ? "markers" : "barriers",
      },
      this.#shipper,
      startOf(reply),
    );
    void this.#every(reply.checkpointIntervalMs, () => {
      log.flush();
      options.onInterval();
    });
    this.#shipper.setRate(options.rate());
    void this.#every(rateLookMs, () => this.#shipper.setRate(options.rate()));
    void this.#every(stateSaveMs, () => {
      // A state directory that can't be written makes the next start compare more, and loses nothing.
      this.save().catch((error: unknown) => events.warn("state.not-saved", { error }));
    });
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
    this.#stop.abort(new Error("the session ended"));
    await this.#shipper.stop();
    this.#end(undefined);
  }

  /** Until the stop. */
  async #every(ms: number, act: () => void): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      // Only the stop rejects.
      await this.#clock.sleep(ms, signal).catch(() => undefined);
      if (signal.aborted) return;
      act();
    }
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
