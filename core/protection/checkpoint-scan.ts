import type { Id } from "#core/ids.ts";
import type { Digest } from "#core/journal/digest.ts";
import type { Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { type BarrierSummary, coordinates, foldBarriers } from "./barrier-fold.ts";
import { eventsRowSchema } from "./batch-row.ts";
import { factsOf, type MarkerFact, type SessionFacts, type SyncFact, SyncTimeline } from "./checkpoint.ts";
import { type CheckpointRow, type ListedCheckpoint, rowOfItem, viewOfRow } from "./checkpoint-row.ts";
import { items, ordinalText } from "./items.ts";
import { latestDigest } from "./manifests.ts";
import { type KnownSession, progressOfSessions } from "./session-list.ts";
import { startOf } from "./session-progress.ts";

export interface PlacedTime {
  readonly position: Position;
  readonly time: number;
}

export interface CheckpointSummary {
  readonly total: number;
  readonly oldest: PlacedTime | null;
  readonly newest: PlacedTime | null;
  readonly journalBytes: number;
}

/** The checkpoint rows of a VPG, read under R12 and R11 with every session's unbroken run as it is now. */
export class CheckpointScan {
  readonly #site: Site;
  readonly #vpgId: Id;
  readonly #sessions: ReadonlyMap<number, KnownSession>;
  /** What retention left, by the bucket. */
  readonly digest: Digest | undefined;
  readonly #timelines = new Map<number, SyncTimeline>();
  /** With several source gateways: of all sessions together, since a barrier names several, and what it lists. */
  #barriers: { readonly timeline: SyncTimeline; readonly summary: BarrierSummary } | undefined;

  private constructor(site: Site, vpgId: Id, sessions: readonly KnownSession[], digest: Digest | undefined) {
    this.#site = site;
    this.#vpgId = vpgId;
    this.digest = digest;
    this.#sessions = new Map(sessions.map((known) => [known.state.claim.session, known]));
  }

  static async open(site: Site, vpgId: Id): Promise<CheckpointScan> {
    const scan = new CheckpointScan(
      site,
      vpgId,
      await progressOfSessions(site, vpgId),
      await latestDigest(site, vpgId),
    );
    await scan.#openBarriers();
    return scan;
  }

  async #openBarriers(): Promise<void> {
    const known = [...this.#sessions.values()];
    if (!known.some(({ state }) => state.claim.gateways !== undefined)) return;
    const timeline = new SyncTimeline(known.map(factsAlone), await this.#facts());
    const isListed = (row: CheckpointRow): boolean => this.#isInRun(row) && timeline.checkpointOf(row) !== undefined;
    const summary = await foldBarriers(this.#site, this.#vpgId, this.#sessions, this.digest, isListed);
    this.#barriers = { timeline, summary };
  }

  get sessions(): readonly KnownSession[] {
    return [...this.#sessions.values()];
  }

  /** From the sessions' folds alone, or that of the barriers: no row is read. */
  summary(): CheckpointSummary {
    let total = 0;
    let journalBytes = 0;
    let oldest: PlacedTime | null = null;
    let newest: PlacedTime | null = null;
    for (const [session, { progress }] of this.#sessions) {
      // The bucket may have let go of more than a table knows that was restored from an older copy.
      total += Math.max(0, progress.checkpoints - (this.digest?.passedIn(session) ?? 0));
      let left = progress.bytes;
      for (const { bytes, replacedBytes } of this.digest?.packsOf(session) ?? []) {
        journalBytes += bytes;
        left -= replacedBytes;
      }
      journalBytes += Math.max(0, left);
      if (progress.oldest !== null) oldest ??= placed(session, progress.oldest);
      if (progress.newest !== null) newest = placed(session, progress.newest);
    }
    const summary = { total, oldest, newest, ...this.#barriers?.summary, journalBytes };
    const first = this.digest?.oldest;
    return first === undefined
      ? summary
      : { ...summary, oldest: first, total: summary.total + (this.digest?.fields.kept.length ?? 0) };
  }

  /** The checkpoint there, if it is a valid one. */
  async at(position: Position): Promise<ListedCheckpoint | undefined> {
    const item = await this.#site.table.get(items.batch(this.#vpgId, position.session, position.sequence));
    return item === undefined ? undefined : this.#listed(item);
  }

  /** Valid ones from the newest on, or from behind one, by its sort key. */
  async *newestFirst(before?: string): AsyncGenerator<ListedCheckpoint> {
    if (this.#barriers === undefined) return yield* this.#newestIn(before === undefined ? {} : { to: before });
    for (const known of this.sessions.toReversed()) {
      const { session } = known.state.claim;
      const [from, end] = [ordinalText(session), ordinalText(session + 1)];
      if (!coordinates(known) || (before !== undefined && before <= from)) continue;
      yield* this.#newestIn({ from, to: before !== undefined && before < end ? before : end });
    }
  }

  async *#newestIn(range: { readonly from?: string; readonly to?: string }): AsyncGenerator<ListedCheckpoint> {
    const { pk } = items.batch(this.#vpgId, 0, 0);
    let cursor: string | undefined;
    do {
      const options = { ...range, reverse: true };
      const page = await this.#site.table.query(pk, cursor === undefined ? options : { ...options, cursor });
      for (const item of page.items) {
        const listed = await this.#listed(item);
        if (listed !== undefined) yield listed;
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  async #listed(item: Parameters<typeof rowOfItem>[0]): Promise<ListedCheckpoint | undefined> {
    const row = rowOfItem(item);
    if (row === undefined || !this.#isInRun(row)) return undefined;
    const known = this.#sessions.get(row.session);
    if (known === undefined) return undefined;
    const timeline = await this.#timeline(known);
    if (timeline.checkpointOf(row) === undefined || this.digest?.lists(row) === false) return undefined;
    return viewOfRow(row, known.state.claim.term, this.#site.clock.now());
  }

  /** R12 alone: whether the marker is a checkpoint, listed still or not. */
  async isValid(marker: MarkerFact): Promise<boolean> {
    const known = this.#sessions.get(marker.session);
    return known !== undefined && (await this.#timeline(known)).checkpointOf(marker) !== undefined;
  }

  #isInRun({ session, batch }: CheckpointRow): boolean {
    return batch < (this.#sessions.get(session)?.progress.batches ?? 0);
  }

  async #timeline({ state, progress }: KnownSession): Promise<SyncTimeline> {
    const { session } = state.claim;
    const made = this.#barriers?.timeline ?? this.#timelines.get(session);
    if (made !== undefined) return made;
    const facts = await this.#facts({ from: ordinalText(session), to: ordinalText(session + 1) });
    const timeline = new SyncTimeline([factsAlone({ state, progress })], facts);
    this.#timelines.set(session, timeline);
    return timeline;
  }

  async #facts(range: { readonly from?: string; readonly to?: string } = {}): Promise<readonly SyncFact[]> {
    const { pk } = items.event(this.#vpgId, 0, 0);
    const facts: SyncFact[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.#site.table.query(pk, cursor === undefined ? range : { ...range, cursor });
      for (const item of page.items) {
        const { batch, session, events } = checkStored(eventsRowSchema, item.fields, "an event's item");
        if (batch >= (this.#sessions.get(session)?.progress.batches ?? 0)) continue;
        for (const { kind, sequence, volume } of events) {
          const closes = kind === "close" || kind === "final";
          facts.push(closes ? { kind: "close", session, sequence, volume: null } : { kind, session, sequence, volume });
        }
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    return facts;
  }
}

/** What the session begins with is settled by its claim (`startOf`), so that no older session has to be read. */
function factsAlone({ state: { claim }, progress }: KnownSession): SessionFacts {
  return { ...factsOf(claim, progress.lastSequence), continues: false, volumes: startOf(claim).syncing };
}

function placed(session: number, place: { readonly sequence: number; readonly time: number }): PlacedTime {
  return { position: { session, sequence: place.sequence }, time: place.time };
}
