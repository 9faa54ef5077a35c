import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { eventsRowSchema } from "./batch-row.ts";
import { type SyncFact, SyncTimeline } from "./checkpoint.ts";
import { type ListedCheckpoint, rowOfItem, viewOfRow } from "./checkpoint-row.ts";
import { items, ordinalText } from "./items.ts";
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

/** The checkpoint rows of a VPG, read under R12 with every session's unbroken run as it is now. */
export class CheckpointScan {
  readonly #site: Site;
  readonly #vpgId: Id;
  readonly #sessions: ReadonlyMap<number, KnownSession>;
  readonly #timelines = new Map<number, SyncTimeline>();

  private constructor(site: Site, vpgId: Id, sessions: readonly KnownSession[]) {
    this.#site = site;
    this.#vpgId = vpgId;
    this.#sessions = new Map(sessions.map((known) => [known.state.claim.session, known]));
  }

  static async open(site: Site, vpgId: Id): Promise<CheckpointScan> {
    return new CheckpointScan(site, vpgId, await progressOfSessions(site, vpgId));
  }

  get sessions(): readonly KnownSession[] {
    return [...this.#sessions.values()];
  }

  /** From the sessions' folds alone: no row is read. */
  summary(): CheckpointSummary {
    let total = 0;
    let journalBytes = 0;
    let oldest: PlacedTime | null = null;
    let newest: PlacedTime | null = null;
    for (const [session, { progress }] of this.#sessions) {
      total += progress.checkpoints;
      journalBytes += progress.bytes;
      if (progress.oldest !== null) oldest ??= placed(session, progress.oldest);
      if (progress.newest !== null) newest = placed(session, progress.newest);
    }
    return { total, oldest, newest, journalBytes };
  }

  /** The checkpoint there, if it is a valid one. */
  async at(position: Position): Promise<ListedCheckpoint | undefined> {
    const item = await this.#site.table.get(items.checkpoint(this.#vpgId, position.session, position.sequence));
    return item === undefined ? undefined : this.#listed(item);
  }

  /** Valid ones from the newest on, or from behind one, by its sort key. */
  async *newestFirst(before?: string): AsyncGenerator<ListedCheckpoint> {
    const { pk } = items.checkpoint(this.#vpgId, 0, 0);
    let to = before;
    for (;;) {
      const page = await this.#site.table.query(pk, to === undefined ? { reverse: true } : { reverse: true, to });
      for (const item of page.items) {
        const listed = await this.#listed(item);
        if (listed !== undefined) yield listed;
      }
      const last = page.items.at(-1);
      if (page.cursor === undefined || last === undefined) return;
      to = last.sk;
    }
  }

  async #listed(item: Parameters<typeof rowOfItem>[0]): Promise<ListedCheckpoint | undefined> {
    const row = rowOfItem(item);
    const known = this.#sessions.get(row.session);
    if (known === undefined || row.batch >= known.progress.batches) return undefined;
    const timeline = await this.#timeline(known);
    if (timeline.checkpointOf(row) === undefined) return undefined;
    return viewOfRow(row, known.state.claim.term);
  }

  async #timeline({ state, progress }: KnownSession): Promise<SyncTimeline> {
    const { claim } = state;
    const made = this.#timelines.get(claim.session);
    if (made !== undefined) return made;
    const facts = await this.#facts(claim.session, progress.batches);
    // What the session begins with is settled by its claim (`startOf`), so that no older session has to be read.
    const session = { session: claim.session, term: claim.term, continues: false, volumes: startOf(claim).syncing };
    const timeline = new SyncTimeline([{ ...session, prefixSequence: progress.lastSequence }], facts);
    this.#timelines.set(claim.session, timeline);
    return timeline;
  }

  async #facts(session: number, batches: number): Promise<readonly SyncFact[]> {
    const { pk } = items.event(this.#vpgId, session, 0);
    const facts: SyncFact[] = [];
    let cursor: string | undefined;
    do {
      const range = { from: ordinalText(session), to: ordinalText(session + 1) };
      const page = await this.#site.table.query(pk, cursor === undefined ? range : { ...range, cursor });
      for (const item of page.items) {
        const row = checkStored(eventsRowSchema, item.fields, "an event's item");
        if (row.batch >= batches) continue;
        for (const { kind, sequence, volume } of row.events) {
          if (kind !== "final") facts.push({ kind, session, sequence, volume: kind === "close" ? null : volume });
        }
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    return facts;
  }
}

function placed(session: number, place: { readonly sequence: number; readonly time: number }): PlacedTime {
  return { position: { session, sequence: place.sequence }, time: place.time };
}
