import { chunkBytes, chunksPerPage, pageOf } from "#core/blocks/geometry.ts";
import { FarshoreError, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log } from "#core/ports.ts";
import { plannedPagesMin } from "#core/sync/limits.ts";
import { machineAwaitedMs, pageUploadsMax, syncRetryMs, wantsAwaitedMs, wantsAwaitedMsPerPage } from "../limits.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { VolumeTrack } from "../tap/volume-track.ts";
import { type AwaitedPage, awaited, type HashedPage, notWanted, PlannedPage } from "./planned-page.ts";

/**
 * What the engine does with a page: compare it by itself, hash it for a state machine, leave it alone until that has
 * answered, or ship what is left of it, which is known to differ.
 */
export type PageTask = "alone" | "hash" | "wait" | "differs";

/** The requests by which a plan reaches its site. */
export interface PlanSite {
  /** For a delta-sync that the next heartbeats ask for. */
  newRequestId(): Id;
  putPageHashes(page: PlannedPage, signal: AbortSignal): Promise<void>;
  pageWants(page: AwaitedPage, signal: AbortSignal): Promise<Uint8Array>;
}

/** What a delta-sync wants to know of one plan. */
export interface PlanFigures {
  readonly pages: number;
  readonly pagesAlone: number;
  readonly hashedBytes: number;
  /** Something was to be compared when the plan was made; of a plan of another life, perhaps. */
  readonly synced: boolean;
}

interface Planned {
  task: Exclude<PageTask, "alone">;
  page: AwaitedPage | undefined;
  readonly revision: number;
}

/** A plan under way: the pages of one delta-sync in one session, by track and number. */
interface Plan {
  readonly operationId: Id;
  readonly vpgId: Id;
  readonly term: number;
  readonly session: number;
  readonly pages: Map<VolumeTrack, Map<number, Planned>>;
  compared: number;
  alone: number;
  hashedBytes: number;
  readonly synced: boolean;
  readonly over: AbortController;
  settling: Promise<void> | undefined;
}

/**
 * Lets a state machine of the site compare the pages of a sync, many at once, in place of the engine's own requests. It only
 * ever takes chunks out of the suspects that the journal was found to hold, or leaves a page to the engine: whatever is lost,
 * late, refused or unknown here is compared by the engine as if there had been no plan.
 */
export class Planner {
  readonly #log: SessionLog;
  readonly #site: PlanSite;
  readonly #clock: Clock;
  readonly #events: Log;
  readonly #settled: (track: VolumeTrack, chunk: number) => void;
  readonly #stop: AbortSignal;
  #plan: Plan | undefined;
  /** A sync that a machine is expected for: its session, until when, and the id by which heartbeats ask for it. */
  #expected: { readonly session: number; readonly until: number; readonly requestId: Id } | undefined;
  #uploads = 0;

  /** `settled` is told of each chunk that is found equal, counted from the volume's start. */
  constructor(options: {
    readonly log: SessionLog;
    readonly site: PlanSite;
    readonly clock: Clock;
    readonly events: Log;
    readonly settled: (track: VolumeTrack, chunk: number) => void;
    readonly stop: AbortSignal;
  }) {
    this.#log = options.log;
    this.#site = options.site;
    this.#clock = options.clock;
    this.#events = options.events;
    this.#settled = options.settled;
    this.#stop = options.stop;
  }

  /**
   * A sync has begun: when it is of more than a few pages and has something to be compared with, the site starts a delta-sync for it,
   * at the session's opening or when a heartbeat asks for one.
   */
  expect(): void {
    const session = this.#log.session?.session;
    if (session === undefined || this.#isOpen || !this.#isLarge) return;
    // What was planned before says nothing of what became suspect since.
    this.#end();
    const until = this.#clock.monotonic() + machineAwaitedMs;
    this.#expected = { session, until, requestId: this.#site.newRequestId() };
    this.#after(machineAwaitedMs);
  }

  /** By which a delta-sync is asked for; undefined while none is waited for. */
  get requestId(): Id | undefined {
    return this.#awaited?.requestId;
  }

  /** Somebody still waits for a page of the plan. */
  get #isOpen(): boolean {
    const plan = this.#current;
    return plan !== undefined && this.#each(plan.operationId).some(({ planned }) => planned.task !== "differs");
  }

  get #awaited(): { readonly requestId: Id } | undefined {
    const expected = this.#expected;
    if (expected === undefined || expected.session !== this.#log.session?.session) return undefined;
    return this.#clock.monotonic() < expected.until ? expected : undefined;
  }

  /** More than a few pages; where only some of their chunks are suspect, as after an overflow, as many chunks as those have. */
  get #isLarge(): boolean {
    const compared = this.#log.tracks.filter((track) => track.syncing && track.basis.kind !== "empty");
    const sum = (each: (track: VolumeTrack) => number): number => compared.reduce((all, track) => all + each(track), 0);
    return compared.some(({ label }) => label === "delta-sync")
      ? sum((track) => pagesOf(track).length) > plannedPagesMin
      : sum((track) => track.suspects.count) > plannedPagesMin * chunksPerPage;
  }

  taskOf(track: VolumeTrack, page: number): PageTask {
    const plan = this.#current;
    const planned = plan?.pages.get(track)?.get(page);
    if (planned !== undefined) return planned.revision === track.revision ? planned.task : "alone";
    if (plan !== undefined || track.basis.kind === "empty") return "alone";
    return this.#awaited === undefined ? "alone" : "wait";
  }

  /**
   * Plans every page that has suspects and something to be compared with, for one delta-sync in this session; `force` makes
   * all chunks suspects first. The same delta-sync again in the same session finds its plan as it is.
   */
  begin(operationId: Id, vpgId: Id, force: boolean): void {
    const session = this.#log.session;
    if (session === undefined) throw sessionEnded();
    const known = this.#current;
    if (known?.operationId === operationId) return;
    this.#end();
    if (force) this.#log.resync();
    const pages = new Map<VolumeTrack, Map<number, Planned>>();
    for (const track of this.#log.tracks) {
      const { revision } = track;
      const planned = pagesOf(track).map((page): [number, Planned] => [
        page,
        { task: "hash", page: undefined, revision },
      ]);
      if (planned.length > 0) pages.set(track, new Map(planned));
    }
    const { term } = session;
    const over = new AbortController();
    this.#plan = {
      operationId,
      vpgId,
      term,
      session: session.session,
      pages,
      compared: 0,
      alone: 0,
      hashedBytes: 0,
      synced: this.#log.syncing,
      over,
      settling: undefined,
    };
    this.#expected = undefined;
    this.#log.changes.fire();
  }

  /** The engine has read and hashed the page. Resolves when another may be sent. */
  async hashed(track: VolumeTrack, page: number, found: HashedPage): Promise<void> {
    const plan = this.#current;
    const planned = plan?.pages.get(track)?.get(page);
    if (plan === undefined || planned === undefined) return;
    const { vpgId, operationId, term, session } = plan;
    const place = { vpgId, operationId, term, session, volume: track.journalVolume, page };
    const whole = new PlannedPage(place, found);
    plan.hashedBytes += found.chunks.reduce((sum, chunk) => sum + lengthOf(track, page, chunk), 0);
    planned.task = "wait";
    this.#uploads += 1;
    void this.#send(plan, track, whole, planned);
    await this.#log.changes.until(() => this.#uploads < pageUploadsMax, this.#stop);
  }

  /** The engine compares the page by itself. */
  leave(track: VolumeTrack, page: number): void {
    this.#leave(this.#current, track, page);
  }

  #leave(plan: Plan | undefined, track: VolumeTrack, page: number): void {
    if (plan?.pages.get(track)?.delete(page) !== true) return;
    plan.alone += 1;
    this.#log.changes.fire();
  }

  /** Resolves when every page of the plan is hashed and its hashes are at the site, or it is left to the engine, as all are in a pause. Throws `Transient` when the session has ended. */
  async allSent(
    operationId: Id,
    told: (done: number, total: number) => void,
    signal: AbortSignal,
  ): Promise<PlanFigures> {
    const sent = (): boolean => {
      const all = this.#each(operationId);
      // The engine may have begun on a page by itself before it was planned: what it has settled nobody hashes any more.
      const open = all.filter(
        ({ track, number, planned }) =>
          planned.page === undefined && planned.revision === track.revision && hasSuspects(track, number),
      );
      told(all.length - open.length, all.length);
      return open.length === 0 || this.#log.mode === "paused";
    };
    await this.#log.changes.until(sent, signal);
    const plan = this.#of(operationId);
    for (const { track, number, planned } of this.#each(operationId)) {
      if (planned.page === undefined) this.leave(track, number);
    }
    const awaitedPages = this.#each(operationId).length;
    this.#after(wantsAwaitedMs + awaitedPages * wantsAwaitedMsPerPage, () => this.#giveUp(plan));
    return { pages: awaitedPages, pagesAlone: plan.alone, hashedBytes: plan.hashedBytes, synced: plan.synced };
  }

  /** Fetches the want-lists of a plan and drops the suspects that aren't wanted. A plan of another life is none. */
  async settle(operationId: Id, signal: AbortSignal): Promise<PlanFigures> {
    const plan = this.#current;
    if (plan?.operationId !== operationId) return { pages: 0, pagesAlone: 0, hashedBytes: 0, synced: true };
    plan.settling ??= this.#settleAll(plan, signal);
    await plan.settling;
    const { compared: pages, alone: pagesAlone, hashedBytes, synced } = plan;
    return { pages, pagesAlone, hashedBytes, synced };
  }

  async #settleAll(plan: Plan, signal: AbortSignal): Promise<void> {
    const waiting = this.#each(plan.operationId).filter(({ planned }) => planned.task === "wait");
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let one = waiting[next]; one !== undefined; one = waiting[next]) {
        next += 1;
        await this.#settlePage(plan, one.track, one.number, one.planned, signal);
      }
    };
    await Promise.all(Array.from({ length: pageUploadsMax }, lane));
  }

  /** The plan of the session that is open now. */
  get #current(): Plan | undefined {
    return this.#plan?.session === this.#log.session?.session ? this.#plan : undefined;
  }

  #of(operationId: Id): Plan {
    const plan = this.#current;
    if (plan?.operationId === operationId) return plan;
    throw sessionEnded();
  }

  #each(
    operationId: Id,
  ): readonly { readonly track: VolumeTrack; readonly number: number; readonly planned: Planned }[] {
    const plan = this.#current;
    if (plan?.operationId !== operationId) return [];
    return [...plan.pages].flatMap(([track, pages]) =>
      [...pages].map(([number, planned]) => ({ track, number, planned })),
    );
  }

  #end(): void {
    this.#plan?.over.abort(new Error("another plan begins"));
    this.#plan = undefined;
  }

  /** Nobody came for what waits. */
  #giveUp(plan: Plan): void {
    if (this.#plan !== plan) return;
    for (const { track, number, planned } of this.#each(plan.operationId)) {
      if (planned.task === "wait") this.leave(track, number);
    }
  }

  async #send(plan: Plan, track: VolumeTrack, page: PlannedPage, planned: Planned): Promise<void> {
    const signal = AbortSignal.any([this.#stop, plan.over.signal]);
    try {
      for (;;) {
        try {
          await this.#site.putPageHashes(page, signal);
          planned.page = awaited(page);
          return;
        } catch (error) {
          if (!(error instanceof Transient)) throw error;
          await this.#clock.sleep(syncRetryMs, signal);
        }
      }
    } catch (error) {
      if (!signal.aborted) this.#events.warn("sync.page-not-planned", { ...page.place, error });
      this.#leave(plan, track, page.place.page);
    } finally {
      this.#uploads -= 1;
      this.#log.changes.fire();
    }
  }

  async #settlePage(
    plan: Plan,
    track: VolumeTrack,
    number: number,
    planned: Planned,
    signal: AbortSignal,
  ): Promise<void> {
    const { page } = planned;
    try {
      if (page === undefined) throw new Transient("its hashes had not reached the site");
      const equal = notWanted(page, await this.#site.pageWants(page, signal));
      const dropped =
        this.#plan === plan && this.#log.dropSuspects(track, number * chunksPerPage, equal, planned.revision);
      if (!dropped) throw new Transient("suspicion was added since it was hashed");
      for (const chunk of equal) this.#settled(track, number * chunksPerPage + chunk);
      planned.task = "differs";
      plan.compared += 1;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FarshoreError)) throw error;
      this.#events.warn("sync.page-alone", { volume: track.journalVolume, page: number, error });
      this.#leave(plan, track, number);
    }
    this.#log.changes.fire();
  }

  /** Looks again after a time, at what may have become over. */
  #after(ms: number, act: () => void = () => undefined): void {
    this.#clock.sleep(ms, this.#stop).then(
      () => {
        act();
        this.#log.changes.fire();
      },
      () => undefined,
    );
  }
}

const sessionEnded = (): Transient =>
  new Transient("the session ended before its volumes were hashed; the next one is compared from its beginning");

const hasSuspects = ({ suspects }: VolumeTrack, page: number): boolean => {
  const next = suspects.next(page * chunksPerPage);
  return next >= 0 && next < (page + 1) * chunksPerPage;
};

/** Pages of a volume that is in a sync with something to compare with, ascending. */
function pagesOf(track: VolumeTrack): readonly number[] {
  if (!track.syncing || track.basis.kind === "empty") return [];
  const pages: number[] = [];
  for (
    let chunk = track.suspects.next(0);
    chunk >= 0;
    chunk = track.suspects.next((pageOf(chunk * chunkBytes) + 1) * chunksPerPage)
  ) {
    pages.push(pageOf(chunk * chunkBytes));
  }
  return pages;
}

const lengthOf = (track: VolumeTrack, page: number, chunk: number): number =>
  Math.min(chunkBytes, track.sizeBytes - (page * chunksPerPage + chunk) * chunkBytes);
