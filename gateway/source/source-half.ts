import type { HeartbeatReply, StreamState } from "#core/api/gateway-api.ts";
import { CommandFailed, type FarshoreError, Fenced, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { SourceBarrier } from "../barrier/source-barrier.ts";
import type { CommandHandlers } from "../control/handlers.ts";
import { aborted, withTimeout } from "../control/time-out.ts";
import { openRetryMsMax, openRetryMsMin, openWaitMs, refusedOpenRetryMs } from "../limits.ts";
import { DiskScrubber } from "../scrub/disk-scrub.ts";
import { knowDisks } from "../state/disk-identity.ts";
import { type SourceFacts, SourceState } from "../state/source-state.ts";
import { SyncRunner } from "../sync/sync-runner.ts";
import { ChangeSignal } from "../tap/change-signal.ts";
import { SessionLog } from "../tap/session-log.ts";
import { endCleanly } from "./clean-end.ts";
import { stayClosed } from "./closed-disks.ts";
import { Closing } from "./closing.ts";
import { EditedVolumes, recallDisks } from "./edited-volumes.ts";
import { type OpenOutcome, SessionOpener } from "./session-opener.ts";
import { forgetShutdowns, heldByShutdown, sourceHandlers } from "./source-commands.ts";
import type { SourceDisks } from "./source-disks.ts";
import type { SourceOptions, SourceStatus } from "./source-options.ts";
import { SourceSession } from "./source-session.ts";
import { streamState } from "./stream-state.ts";
import { planSiteOf, targetHashes } from "./target-hashes.ts";
import { verifyVolumes } from "./verify-disks.ts";

/** Names of refusals after which somebody else may be running the VMs. */
const someoneElse: ReadonlySet<string> = new Set(["Fenced", "RunGrantRefused", "DuplicateGateway"]);

/** A VPG that this gateway captures, or its part of one: the protected disks, their exports, and their one stream to the recovery site. */
export class SourceHalf {
  readonly handlers: CommandHandlers;
  /** Resolves when the exports are there for the first time. */
  readonly serving: Promise<void>;
  readonly #options: SourceOptions;
  readonly #state: SourceState;
  readonly #disks: SourceDisks;
  readonly #barrier: SourceBarrier;
  readonly #log: SessionLog;
  readonly #sync: SyncRunner;
  readonly #scrub: DiskScrubber;
  readonly #opener: SessionOpener;
  readonly #stop = new AbortController();
  #served: () => void = () => undefined;
  #session: SourceSession | undefined;
  #loop: Promise<void> | undefined;
  #over = false;
  #problem: FarshoreError | null = null;
  /** Nobody could have written the disks since the process took them. */
  #untouched: boolean;
  /** Guests used the disks before the capture began, and its first session isn't open yet: nobody else can have the VPG. */
  #takenInUse: boolean;
  /** The site has granted this process the run (R17), by a session or although it knows other volumes. */
  #granted = false;
  /** The site's last word was a no; its silence afterwards is no yes. */
  #refused = false;
  /** The VPG that a forced shutdown holds: no write access until its source is powered on again. */
  #heldVpgId: Id | null;
  /** Fired when the exports, the closed mark or the problem have changed. */
  readonly #changes = new ChangeSignal();
  readonly #edited: EditedVolumes;
  /** Ends the wait for the session's end, or for the next try, so that one is asked for. */
  #endSession: () => void = () => undefined;

  private constructor(options: SourceOptions, state: SourceState, barrier: SourceBarrier, heldVpgId: Id | null) {
    const { disks, capture, clock, log, host } = options;
    this.#options = options;
    this.#state = state;
    this.#disks = disks;
    this.#barrier = barrier;
    this.#heldVpgId = heldVpgId;
    this.#takenInUse = disks.exported !== "absent";
    this.#untouched = !this.#takenInUse;
    this.serving = new Promise((resolve) => {
      this.#served = resolve;
    });
    this.#log = new SessionLog({ sizes: disks.sizes, bufferBytes: capture.bufferBytes, clock });
    disks.tapWith(this.#log, (error) => log.error("tap.fault", { error }), barrier.gate);
    const hashes = targetHashes(options.site, () => {
      if (state.facts.vpgId === null) throw new TypeError("hashes are asked for within a session");
      return state.facts.vpgId;
    });
    this.#scrub = new DiskScrubber({
      of: () => `${state.facts.vpgId} ${state.facts.promotedBy}`,
      ...{ vpgName: disks.vpgName, log: this.#log, hashes, openHasher: host.openHasher, state: options.state },
      ...{ clock, events: log, sources: () => disks.tapped, bytesPerSecond: capture.scrubBytesPerSecond ?? 0 },
    });
    this.#sync = new SyncRunner({
      log: this.#log,
      sources: disks.tapped,
      hashes,
      ...{ clock, events: log },
      bytesPerSecond: capture.syncBytesPerSecond,
      openHasher: host.openHasher,
      planSite: planSiteOf(options.site, clock, options.random),
    });
    this.#opener = new SessionOpener({ ...options, state });
    this.#edited = new EditedVolumes({
      ...options,
      sessionLog: this.#log,
      vpgId: () => state.facts.vpgId,
      session: () => this.#session,
      endSession: () => this.#endSession(),
      configured: options.configured,
    });
    this.handlers = sourceHandlers({
      ...options,
      vpgName: disks.vpgName,
      vmNames: () => disks.vmNames,
      urisOf: (vm) => disks.urisOf(vm),
      sessionLog: this.#log,
      barrier,
      vpgId: () => state.facts.vpgId,
      runHook: host.runHook,
      flushDisks: () => disks.flush(),
      hold: () => this.#hold(true),
      release: () => this.#hold(false),
      closing: new Closing({
        vpgName: disks.vpgName,
        state,
        sessionLog: this.#log,
        clock,
        flushDisks: () => disks.flush(),
        knowDisks: () => knowDisks(host.identifyDisk, disks.paths),
        identifyDisks: () => disks.identify(),
        dropClients: () => (disks.exported === "absent" ? Promise.resolve() : this.#serve()),
        serveAgain: (signal) => this.#serveAgain(signal),
      }),
      closedBy: () => state.facts.closed?.operationId,
      verify: (body, context) => verifyVolumes({ ...options, openHasher: host.openHasher }, body, context),
      sync: this.#sync,
      scrub: this.#scrub,
    });
  }

  /** Nothing is exported before a session, or the configuration, grants it (R17). */
  static async open(options: SourceOptions): Promise<SourceHalf> {
    const { disks, clock, log, wrapChannel } = options;
    const state = await SourceState.load(options.state, disks.vpgName);
    const { vpgId } = state.facts;
    if (disks.promotedBy !== undefined && disks.promotedBy !== state.facts.promotedBy) {
      if (vpgId !== null) await forgetShutdowns(options.state, vpgId);
      await state.followedBy(disks.promotedBy, options.capturedTerm ?? 0);
    }
    if (disks.promotedBy === undefined) await stayClosed(options, state);
    const heldVpgId = vpgId !== null && (await heldByShutdown(options.state, vpgId)) ? vpgId : null;
    const barrier = await SourceBarrier.open({ config: options.barrier, clock, events: log, wrapChannel });
    const half = new SourceHalf(options, state, barrier, heldVpgId);
    await half.#scrub.load();
    return half;
  }

  start(): void {
    this.#sync.start();
    this.#scrub.start();
    this.#loop ??= this.#run().catch(this.#options.onCrash);
  }

  /** Null before its site was first asked. */
  get vpgId(): Id | null {
    return this.#state.facts.vpgId;
  }

  /** By its name while no site has said which VPG that is. */
  isOf(vpgId: Id, vpgName: string): boolean {
    const known = this.#options.vpgId ?? this.vpgId;
    return known === null ? this.#disks.vpgName === vpgName : known === vpgId;
  }

  get disks(): SourceDisks {
    return this.#disks;
  }

  /** The operation that recovered its disks, whether they are still that one's or have become the configuration's; null of others. */
  get recoveredBy(): Id | null {
    return this.#disks.promotedBy ?? this.#state.facts.adopted;
  }

  /** True when it opens no session any more: it was fenced off, or is closed. */
  get over(): boolean {
    return this.#over;
  }

  /** Ordinal of the open session, once there is one of that term or a later one. Rejects when the half is over, or with the signal's reason. */
  async opened(term: number, signal: AbortSignal): Promise<number> {
    const found = (): number | undefined => {
      if (this.#over) throw this.#problem ?? new CommandFailed(`the capture of ${this.#disks.vpgName} has ended`);
      const { session } = this.#log;
      return session !== undefined && session.term >= term ? session.session : undefined;
    };
    await this.#log.changes.until(() => found() !== undefined, signal);
    return found() ?? this.opened(term, signal);
  }

  /** For heartbeats. */
  streams(): readonly StreamState[] {
    const { vpgId, term } = this.#state.facts;
    if (vpgId === null) return [];
    const stream = streamState({
      ...{ vpgId, term, log: this.#log, sync: this.#sync },
      closed: this.#state.facts.closed,
      barrierProblem: this.#barrier.problem,
      throttle: this.#options.rate(),
      configurationProblem: this.#edited.problem,
      recoveredDisks: this.#disks.promotedBy !== undefined,
      scrub: this.#scrub.standing,
    });
    return [stream];
  }

  /** What a heartbeat's answer says of our stream; `sent` is what that heartbeat had said. */
  told(streams: HeartbeatReply["streams"], sent: readonly StreamState[]): void {
    const { vpgId } = this.#state.facts;
    const ours = streams.find((stream) => stream.vpgId === vpgId);
    if (ours === undefined) return;
    if (ours.fenced || ours.deleted) {
      // A slow answer may be about a session of ours that has been followed by another of ours since.
      const about = sent.find((stream) => stream.vpgId === vpgId)?.session;
      if (this.#session === undefined && this.#disks.exported === "read-write") this.#endSession();
      if (about !== this.#session?.session) return;
      const why = ours.deleted ? "was deleted" : `is in term ${ours.term} now, or another session of it was opened`;
      this.#session?.fence(new Fenced(`VPG ${this.#disks.vpgName} ${why}`, { deleted: ours.deleted }));
      return;
    }
    this.#log.setPaused(ours.paused);
    const refused = this.#session === undefined && this.#problem?.name === "VolumesDiffer";
    if (ours.configRevision !== undefined && !this.#closed) this.#edited.told(ours.configRevision, refused);
  }

  get busy(): boolean {
    return this.#log.syncing;
  }

  status(): SourceStatus {
    return {
      vpg: this.#disks.vpgName,
      exports: this.#disks.exported,
      stream: this.streams()[0] ?? null,
      problem: this.#problem,
    };
  }

  /** The clean stop (R4, R5): guests out, disks flushed, close record, everything acknowledged; only then is it marked clean. */
  async close(): Promise<{ readonly clean: boolean }> {
    this.#stop.abort(new Error("the gateway stops"));
    await this.#loop;
    await this.#scrub.stop();
    await this.#edited.stop();
    // What it holds back is let go: the guests' last writes are waited for.
    await this.#barrier.close();
    await this.#disks.exportAs("absent");
    await this.#sync.stop();
    const clean = await this.#closeSession();
    await this.#session?.stop();
    await this.#disks.close();
    return { clean };
  }

  async #closeSession(): Promise<boolean> {
    const { log } = this.#options;
    if (this.#session === undefined) return this.#untouched && this.#state.facts.clean;
    // It ended before, by a FINAL that the site has.
    if (this.#state.facts.closed?.final != null) return true;
    const { clock, capture } = this.#options;
    const parts = { disks: this.#disks, sessionLog: this.#log, session: this.#session, state: this.#state };
    return endCleanly({ ...parts, clock, log, drainMs: capture.drainMs });
  }

  /** Opens sessions one after the other until the gateway stops or is fenced off. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const startedAt = this.#options.clock.monotonic();
    try {
      if (this.#untouched) await recallDisks(this.#state.facts, this.#disks, this.#log.volumes);
      for (let pause = openRetryMsMin; ; pause = Math.min(openRetryMsMax, pause * 2)) {
        await this.#untilOpen(signal);
        await this.#edited.apply();
        const outcome = await this.#opener.attempt(this.#untouched, signal);
        let refused = outcome.kind === "refused";
        if (outcome.kind === "opened") {
          const next = await this.#live(outcome);
          if (next === "none") return;
          if (next === "at-once") continue;
          pause = openRetryMsMin;
          refused = true;
        } else if (!(await this.#withoutSession(outcome, startedAt))) {
          return;
        }
        await this.#pause(refused ? refusedOpenRetryMs : pause, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#over = true;
      this.#log.changes.fire();
    }
  }

  /** Shorter when there is reason to ask for a session at once. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const early = new AbortController();
    this.#endSession = () => early.abort();
    await this.#options.clock.sleep(ms, AbortSignal.any([signal, early.signal])).catch(() => signal.throwIfAborted());
  }

  /** While the volumes are closed no session is asked for, and nobody grants them write access; the site hears that they are closed. */
  async #untilOpen(signal: AbortSignal): Promise<void> {
    if (!this.#closed) return;
    await this.#serve();
    for (; this.vpgId === null; await this.#pause(refusedOpenRetryMs, signal)) {
      this.#problem = await this.#opener.learnVpg(signal);
    }
    await this.#changes.until(() => !this.#closed, signal);
  }

  /** One session from its opening to its end, and when another one is to be asked for. */
  async #live(outcome: Extract<OpenOutcome, { readonly kind: "opened" }>): Promise<"none" | "later" | "at-once"> {
    const { reply, vpgId } = outcome;
    const { log, address, clock, host } = this.#options;
    log.info("source.session-opened", { session: reply.session, term: reply.term, sync: reply.sync });
    this.#problem = null;
    this.#untouched = false;
    this.#takenInUse = false;
    this.#granted = true;
    this.#refused = false;
    if (outcome.regressed) this.#log.volumes.forget();
    const session = new SourceSession({
      address,
      vpgId,
      reply,
      journalVolumes: this.#disks.numbersOf(reply.volumes),
      log: this.#log,
      state: this.#state,
      clock,
      events: log,
      host,
      onInterval: () => this.#barrier.tick(),
      rate: this.#options.rate,
    });
    this.#barrier.opened(vpgId, reply.barrier, this.#log);
    this.#session = session;
    const reopened = new Promise<"reopened">((resolve) => {
      this.#endSession = () => resolve("reopened");
    });
    await this.#serve();
    const end = await Promise.race([session.ended, reopened, aborted(this.#stop.signal)]);
    if (end === undefined) return "none";
    if (end === "reopened") {
      await session.stop();
      this.#session = undefined;
      this.#log.leave();
      return "at-once";
    }
    this.#problem = end.error;
    if (end.kind === "fenced") await this.#fenced(end.error);
    await session.stop();
    this.#session = undefined;
    if (end.kind === "fenced") return "none";
    log.error("source.session-lost", { session: reply.session, error: end.error });
    this.#log.detach();
    return "later";
  }

  /** Another try follows unless it answers false. */
  async #withoutSession(
    outcome: Exclude<OpenOutcome, { readonly kind: "opened" }>,
    startedAt: number,
  ): Promise<boolean> {
    const { log, capture, clock } = this.#options;
    const { error } = outcome;
    if (this.#problem?.message !== error.message) log.warn("source.no-session", { kind: outcome.kind, error });
    this.#problem = error;
    if (outcome.kind === "refused") {
      if (this.#takenInUse) return true;
      this.#refused = error.name !== "VolumesDiffer";
      this.#granted ||= !this.#refused;
      if (!this.#refused && this.#disks.exported !== "read-write") await this.#serveUncaptured();
      this.#changes.fire();
      if (!someoneElse.has(error.name)) return true;
      if (this.#disks.exported !== "read-write") {
        if (this.#state.facts.fenced !== error.message) await this.#remember({ fenced: error.message });
        return true;
      }
      // A gateway that was granted before the failover began goes on: until a commit its VMs are the production.
      if (this.#granted && error.name === "RunGrantRefused") return true;
      // It served without a grant, and should not have, or somebody has the VPG now.
      await this.#fenced(error);
      return false;
    }
    if (this.#refused || this.#state.facts.fenced !== null) return true;
    const grant = capture.startWithoutGrant;
    const waited = clock.monotonic() - startedAt;
    const granted = grant.kind === "always" || (grant.kind === "after" && waited >= grant.ms);
    if (this.#disks.exported !== "absent" || !granted) return true;
    log.warn("source.serves-without-grant", { start_without_grant: grant.kind });
    await this.#serveUncaptured();
    return true;
  }

  /** Without a session: what is written is suspect in this process, and everything in the next. */
  async #serveUncaptured(): Promise<void> {
    await this.#state.save({ clean: false, fenced: null });
    this.#untouched = false;
    await this.#serve();
  }

  /** Somebody else has the VPG. A deleted VPG's guests are left in peace: nobody else runs them. */
  async #fenced(error: FarshoreError): Promise<void> {
    const { log, capture } = this.#options;
    this.#log.fence();
    const deleted = error.details["deleted"] === true;
    const action = deleted ? "continue" : capture.onFenced;
    log.error("source.fenced", { on_fenced: action, error });
    const noted = this.#remember({ fenced: deleted ? null : error.message, clean: false });
    if (action === "read-only") await this.#disks.exportAs("read-only");
    if (action === "stop") await this.#disks.exportAs("absent");
    await noted;
  }

  /** For what is acted on in this life whether or not it can be written down for the next. */
  async #remember(changes: Partial<SourceFacts>): Promise<void> {
    try {
      await this.#state.save(changes);
    } catch (error) {
      this.#options.log.error("state.not-saved", { error });
    }
  }

  get #held(): boolean {
    return this.#heldVpgId !== null && this.#heldVpgId === this.#state.facts.vpgId;
  }

  get #closed(): boolean {
    return this.#state.facts.closed !== null;
  }

  /** Exports for reading and, unless a shutdown holds the VPG or it is closed, writing. */
  async #serve(): Promise<void> {
    await this.#disks.exportAs(this.#held || this.#closed ? "read-only" : "read-write");
    this.#served();
    this.#changes.fire();
  }

  async #hold(held: boolean): Promise<void> {
    this.#heldVpgId = held ? this.#state.facts.vpgId : null;
    if (this.#disks.exported === "absent" || (!held && this.#log.mode === "fenced")) return;
    await this.#serve();
  }

  /** The closed mark is gone: the session goes on if it hasn't ended, or another one is opened. */
  async #serveAgain(signal: AbortSignal): Promise<void> {
    this.#untouched = this.#state.facts.clean;
    this.#refused = false;
    if (this.#log.mode === "closed") this.#endSession();
    else if (this.#session !== undefined) await this.#serve();
    this.#changes.fire();
    const served = (): boolean => this.#disks.exported === "read-write" || (this.#held && this.#session !== undefined);
    const { clock } = this.#options;
    try {
      const changed = (either: AbortSignal) => this.#changes.until(() => served() || this.#refused, either);
      await withTimeout(clock, openWaitMs, changed, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Transient)) throw error;
    }
    if (served()) return;
    throw new CommandFailed(
      `${this.#disks.vpgName} is open and has no session yet: ${this.#problem?.message ?? "no answer"}`,
    );
  }
}
