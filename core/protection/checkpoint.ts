import { comparePositions, formatPosition, type Position } from "#core/journal/position.ts";

/** What R12 needs of a session, from its object and from how far its batches reach without a gap. */
export interface SessionFacts {
  readonly session: number;
  readonly term: number;
  /** The session object's word: the disks are as the previous session's clean end left them. */
  readonly continues: boolean;
  /** Numbers of the volumes it opened. */
  readonly volumes: readonly number[];
  /** Last sequence of the unbroken run of batches (before the seal, if any); 0 when there is none. What lies beyond does not count. */
  readonly prefixSequence: number;
}

/** The records that change whether volumes are synced. */
export interface SyncFact extends Position {
  readonly kind: "sync-begin" | "sync-end" | "close";
  /** Of sync-begin and sync-end; a close concerns all. */
  readonly volume: number | null;
}

export interface MarkerFact extends Position {
  /** Source clock, milliseconds since the epoch. */
  readonly time: number;
  readonly tag: string;
}

export interface Checkpoint extends MarkerFact {
  /** `SESSION-SEQUENCE`. */
  readonly id: string;
  readonly term: number;
}

/** From this position on, until the next step, these volumes hold a mixture. */
interface Step extends Position {
  readonly unsynced: ReadonlySet<number>;
}

/**
 * R12, the rule of which markers are checkpoints; the site applies it to its rows and an offline reader to the bucket,
 * and both list the same. A volume is unsynced from its session's start, unless the session continues one (ordinal - 1)
 * that ended clean with all its volumes synced; from a sync-begin; until a sync-end.
 */
export class SyncTimeline {
  readonly #steps: Step[] = [];
  readonly #sessions: ReadonlyMap<number, SessionFacts>;

  /** Both lists in order of position; facts beyond a session's unbroken run, or of an unknown session, are ignored. */
  constructor(sessions: readonly SessionFacts[], facts: readonly SyncFact[]) {
    this.#sessions = new Map(sessions.map((session) => [session.session, session]));
    let next = 0;
    let previous: { session: number; endedClean: boolean } = { session: 0, endedClean: false };
    for (const session of sessions) {
      const inherits = session.continues && previous.endedClean && previous.session === session.session - 1;
      let unsynced: ReadonlySet<number> = inherits ? this.#newVolumes(session) : new Set(session.volumes);
      this.#steps.push({ session: session.session, sequence: 0, unsynced });
      let closed = false;
      for (let fact = facts[next]; fact !== undefined && fact.session <= session.session; fact = facts[next]) {
        next += 1;
        if (fact.session < session.session || fact.sequence > session.prefixSequence) continue;
        if (fact.kind === "close") closed = fact.sequence === session.prefixSequence;
        else unsynced = this.#step(unsynced, fact);
      }
      previous = { session: session.session, endedClean: closed && unsynced.size === 0 };
    }
  }

  /** Volumes whose image is a mixture at this position; empty where a checkpoint would be valid. */
  unsyncedAt(position: Position): ReadonlySet<number> {
    let low = 0;
    let high = this.#steps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const step = this.#steps[middle];
      if (step !== undefined && comparePositions(step, position) <= 0) low = middle + 1;
      else high = middle;
    }
    return this.#steps[low - 1]?.unsynced ?? new Set();
  }

  /** The marker as a checkpoint, or undefined: its whole prefix is not there, or a volume is unsynced. */
  checkpointOf(marker: MarkerFact): Checkpoint | undefined {
    const session = this.#sessions.get(marker.session);
    if (session === undefined || marker.sequence > session.prefixSequence) return undefined;
    if (this.unsyncedAt(marker).size > 0) return undefined;
    const { sequence, time, tag } = marker;
    return { session: marker.session, sequence, time, tag, id: formatPosition(marker), term: session.term };
  }

  /** A volume that the clean predecessor did not have starts unsynced. */
  #newVolumes(session: SessionFacts): ReadonlySet<number> {
    const before = new Set(this.#sessions.get(session.session - 1)?.volumes);
    return new Set(session.volumes.filter((volume) => !before.has(volume)));
  }

  #step(before: ReadonlySet<number>, fact: SyncFact): ReadonlySet<number> {
    const unsynced = new Set(before);
    if (fact.volume === null) return before;
    if (fact.kind === "sync-begin") unsynced.add(fact.volume);
    else unsynced.delete(fact.volume);
    this.#steps.push({ session: fact.session, sequence: fact.sequence, unsynced });
    return unsynced;
  }
}

/** The valid checkpoints among the markers, in the markers' order. */
export function listCheckpoints(
  sessions: readonly SessionFacts[],
  facts: readonly SyncFact[],
  markers: readonly MarkerFact[],
): Checkpoint[] {
  const timeline = new SyncTimeline(sessions, facts);
  return markers.flatMap((marker) => timeline.checkpointOf(marker) ?? []);
}
