import { comparePositions, formatPosition, type Position } from "#core/journal/position.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";

/** What R12 and R11 need of a session, from its object and from how far its batches reach without a gap. */
export interface SessionFacts {
  readonly session: number;
  readonly term: number;
  /** The session object's word: the disks are as the previous session's clean end left them. */
  readonly continues: boolean;
  /** Numbers of the volumes it opened. */
  readonly volumes: readonly number[];
  /** Last sequence of the unbroken run of batches (before the seal, if any); 0 when there is none. What lies beyond does not count. */
  readonly prefixSequence: number;
  /** There when the VPG has several source gateways: then barriers are its checkpoints, and markers are none. */
  readonly shared?: SharedFacts | undefined;
  /** Of seeds: its volumes are unsynced to its end, and none of its markers is a checkpoint. */
  readonly seed?: boolean | undefined;
}

export interface SharedFacts {
  readonly gatewayId: string;
  /** All source gateways of the VPG, the coordinator first. */
  readonly gateways: readonly string[];
  readonly configRevision: number;
  /** Ordinal of the gateway's session before, 0 for none. */
  readonly previous: number;
}

/** What the rules need of a session whose unbroken run ends with `prefixSequence`. */
export function factsOf(claim: SessionClaim, prefixSequence: number): SessionFacts {
  const { session, term, continues, seed } = claim;
  const volumes = claim.volumes.map(({ volume }) => volume);
  return { session, term, continues, volumes, prefixSequence, shared: sharedOf(claim), seed };
}

/** What a session object says beyond the VPGs of one source gateway. */
function sharedOf({ gatewayId, gateways, configRevision, previous }: SessionClaim): SharedFacts | undefined {
  if (gateways === undefined || previous === undefined) return undefined;
  return { gatewayId, gateways, configRevision, previous };
}

/** The records that change whether volumes are synced. */
export interface SyncFact extends Position {
  readonly kind: "sync-begin" | "sync-end" | "close";
  /** Of sync-begin and sync-end; a close, which a final is too, concerns all. */
  readonly volume: number | null;
}

/** A marker or a barrier. */
export interface MarkerFact extends Position {
  /** Source clock, milliseconds since the epoch. */
  readonly time: number;
  readonly tag: string;
  /** A barrier's: where each gateway's session was held. */
  readonly vector?: readonly Position[];
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
 * R12 and R11, the rule of which markers and barriers are checkpoints; the site applies it to its rows and an offline reader to
 * the bucket, and both list the same. A volume is unsynced from its session's start, unless the session continues the one before
 * it of its gateway and that ended clean with all its volumes synced; from a sync-begin; until a sync-end. In a session of seeds it
 * is so to the end.
 */
export class SyncTimeline {
  readonly #steps: Step[] = [];
  readonly #sessions: ReadonlyMap<number, SessionFacts>;
  /** Of shared sessions: the one that follows it of its gateway. */
  readonly #followers = new Map<number, number>();

  /** Both lists in order of position; facts beyond a session's unbroken run, or of an unknown session, are ignored. */
  constructor(sessions: readonly SessionFacts[], facts: readonly SyncFact[]) {
    this.#sessions = new Map(sessions.map((session) => [session.session, session]));
    let next = 0;
    const endedClean = new Set<number>();
    const newest = new Map<string, number>();
    for (const session of sessions) {
      if (session.shared !== undefined) {
        const before = newest.get(session.shared.gatewayId);
        if (before !== undefined) this.#followers.set(before, session.session);
        newest.set(session.shared.gatewayId, session.session);
      }
      const inherits = session.continues && endedClean.has(previousOf(session));
      let unsynced: ReadonlySet<number> = inherits ? this.#newVolumes(session) : new Set(session.volumes);
      this.#steps.push({ session: session.session, sequence: 0, unsynced });
      let closed = false;
      for (let fact = facts[next]; fact !== undefined && fact.session <= session.session; fact = facts[next]) {
        next += 1;
        if (fact.session < session.session || fact.sequence > session.prefixSequence || session.seed === true) continue;
        if (fact.kind === "close") closed = fact.sequence === session.prefixSequence;
        else unsynced = this.#step(unsynced, fact);
      }
      if (closed && unsynced.size === 0 && session.seed !== true) endedClean.add(session.session);
    }
  }

  /** Volumes of the position's session whose image is a mixture there; empty where a checkpoint would be valid. */
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

  /** The marker as a checkpoint, or undefined: something it needs is not there, or a volume is unsynced. */
  checkpointOf(marker: MarkerFact): Checkpoint | undefined {
    const session = this.#sessions.get(marker.session);
    if (session === undefined || marker.sequence > session.prefixSequence) return undefined;
    const { sequence, time, tag, vector } = marker;
    if (!(vector === undefined ? this.#holds(session, marker) : this.#barrierHolds(session, marker, vector))) {
      return undefined;
    }
    const place = { session: marker.session, sequence, id: formatPosition(marker), term: session.term };
    return vector === undefined ? { ...place, time, tag } : { ...place, time, tag, vector };
  }

  #holds(session: SessionFacts, marker: Position): boolean {
    return session.shared === undefined && session.seed !== true && this.unsyncedAt(marker).size === 0;
  }

  /**
   * R11: the coordinator's barrier names one session of each gateway, of its own term and configuration; each reaches its
   * component, was not followed by another of its gateway when the coordinator's began, and has all its volumes synced there.
   */
  #barrierHolds({ term, shared }: SessionFacts, barrier: Position, vector: readonly Position[]): boolean {
    if (shared === undefined || shared.gatewayId !== shared.gateways[0]) return false;
    if (vector.length !== shared.gateways.length) return false;
    const left = new Set(shared.gateways);
    for (const component of vector) {
      const named = this.#sessions.get(component.session);
      if (named?.shared === undefined || !left.delete(named.shared.gatewayId)) return false;
      const own = named.shared.gatewayId === shared.gatewayId;
      if (own && (component.session !== barrier.session || component.sequence >= barrier.sequence)) return false;
      if (named.term !== term || !sameGroup(named.shared, shared)) return false;
      if (component.sequence > named.prefixSequence || this.unsyncedAt(component).size > 0) return false;
      if ((this.#followers.get(component.session) ?? Number.POSITIVE_INFINITY) < barrier.session) return false;
    }
    return true;
  }

  /** A volume that the clean predecessor did not have starts unsynced. */
  #newVolumes(session: SessionFacts): ReadonlySet<number> {
    const before = new Set(this.#sessions.get(previousOf(session))?.volumes);
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

const previousOf = ({ session, shared }: SessionFacts): number => shared?.previous ?? session - 1;

function sameGroup(left: SharedFacts, right: SharedFacts): boolean {
  return left.configRevision === right.configRevision && left.gateways.join() === right.gateways.join();
}

/** The valid checkpoints among the markers and barriers, in their order. */
export function listCheckpoints(
  sessions: readonly SessionFacts[],
  facts: readonly SyncFact[],
  markers: readonly MarkerFact[],
): Checkpoint[] {
  const timeline = new SyncTimeline(sessions, facts);
  return markers.flatMap((marker) => timeline.checkpointOf(marker) ?? []);
}

/** The position up to which a volume is in a checkpoint's image: that of its own gateway's session. */
export function positionOfVolume(
  checkpoint: Position & { readonly vector?: readonly Position[] | undefined },
  volumesOf: (session: number) => readonly number[],
  volume: number,
): Position {
  const { session, sequence, vector } = checkpoint;
  return vector?.find((component) => volumesOf(component.session).includes(volume)) ?? { session, sequence };
}
