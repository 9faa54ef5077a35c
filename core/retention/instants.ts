import { comparePositions, type Position, parsePosition } from "#core/journal/position.ts";
import type { CheckpointScan } from "#core/protection/checkpoint-scan.ts";

/** What packs may not blur: up to where of each session they may go, behind what they must end, and what each volume is asked for at. */
export interface Instants {
  /** Nothing of the session behind this sequence is packed. */
  readonly limitOf: (session: number) => number;
  /** Ascending. */
  readonly cutsOf: (session: number) => readonly number[];
  readonly instantsOf: (volume: number) => readonly Position[];
}

/**
 * The kept checkpoints as instants of sessions and volumes: of one gateway a position of its own, of several each gateway's component.
 * Behind the last of them every checkpoint is listed, so that is where packing ends.
 */
export async function instantsOf(scan: CheckpointScan): Promise<Instants | undefined> {
  const { digest } = scan;
  if (digest?.thinnedThrough === undefined) return undefined;
  const parts: (readonly Position[])[] = [];
  const ends: Position[] = [];
  for (const id of digest.fields.kept) {
    const position = parsePosition(id);
    const checkpoint = await scan.at(position);
    // Kept and without its item: the table has lost it, and packing without its instant would lose what it shows.
    if (checkpoint === undefined) return undefined;
    parts.push(checkpoint.vector ?? [position]);
    ends.push(position);
  }
  const last = parts.at(-1);
  if (last === undefined) return undefined;
  const claims = new Map(scan.sessions.map(({ state }) => [state.claim.session, state.claim]));
  const gatewayOf = (session: number): string => claims.get(session)?.gatewayId ?? "";
  const single = last.length === 1;
  const all = parts.flat();
  const cuts = Map.groupBy([...all, ...ends], ({ session }) => session);
  return {
    limitOf: (session) => {
      const own = single ? last[0] : last.find((part) => gatewayOf(part.session) === gatewayOf(session));
      if (own === undefined || session > own.session) return 0;
      return session < own.session ? Number.POSITIVE_INFINITY : own.sequence;
    },
    cutsOf: (session) => {
      const sequences = new Set((cuts.get(session) ?? []).map(({ sequence }) => sequence));
      return [...sequences].sort((left, right) => left - right);
    },
    instantsOf: memoized((volume) => {
      const has = ({ session }: Position): boolean =>
        claims.get(session)?.volumes.some((each) => each.volume === volume) === true;
      const own = single ? all : parts.flatMap((vector) => vector.filter(has));
      return own.toSorted(comparePositions);
    }),
  };
}

function memoized<T>(make: (volume: number) => T): (volume: number) => T {
  const known = new Map<number, T>();
  return (volume) => {
    const value = known.get(volume) ?? make(volume);
    known.set(volume, value);
    return value;
  };
}
