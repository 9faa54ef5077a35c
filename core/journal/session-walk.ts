import { Corrupt } from "#core/errors.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import { type BatchHeader, endsSession } from "./batch.ts";
import type { Pack } from "./digest.ts";
import { bytesEqual } from "./hash.ts";
import { batchKey, parseBatchKey, parseSessionClaimKey, sessionClaimPrefix, sessionPrefix } from "./keys.ts";
import { decodeSessionClaim, type SessionClaim } from "./session-claim.ts";

/**
 * All session objects of a VPG, in order of ordinal. Throws `Corrupt` for one that is not what its name says, or whose
 * term is older than that of a session before it: authority never goes back.
 */
export async function* sessionClaims(
  objects: Pick<Objects, "get" | "list">,
  vpgId: string,
): AsyncGenerator<SessionClaim> {
  let term = 0;
  for await (const { key } of listAll(objects, sessionClaimPrefix(vpgId))) {
    const claim = storedClaim(key, await objects.get(key));
    if (claim.term < term) throw new Corrupt(`${key} has an older term than before`, { key });
    term = claim.term;
    yield claim;
  }
}

/** The session object of that name. Throws `Corrupt` when it is not what the name says. */
export function storedClaim(key: string, bytes: Uint8Array): SessionClaim {
  const named = parseSessionClaimKey(key);
  const claim = claimOf(key, bytes);
  if (claim.vpgId === named?.vpgId && claim.session === named.session) return claim;
  throw new Corrupt(`${key} is another session's`, { key });
}

function claimOf(key: string, bytes: Uint8Array): SessionClaim {
  try {
    return decodeSessionClaim(bytes);
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error;
    throw new Corrupt(`${key}: ${error.message}`, { key }, { cause: error });
  }
}

export interface StoredObject {
  readonly term: number;
  readonly session: number;
  readonly batch: number;
  readonly size: number;
  /** There when a pack of this id stands for batches from `batch` on: the digest's word on it. */
  readonly pack?: string;
  readonly packed?: Pack;
}

/**
 * The objects 0, 1, 2 … of a session up to the first that is absent, by their names alone: the last may be a SEAL, and then what
 * follows it is void. Packs of the newest digest stand for their batches, which may be there still and are passed over (R8).
 * `from`: what lies before that batch is known to be unbroken; one inside a pack begins with the whole pack.
 */
export async function* unbrokenRun(
  objects: Pick<Objects, "list">,
  claim: Pick<SessionClaim, "vpgId" | "term" | "session">,
  packs: readonly Pack[] = [],
  from = 0,
): AsyncGenerator<StoredObject> {
  const { term, session } = claim;
  let next = packs.filter(({ to }) => to <= from).length;
  let expected = Math.min(from, packs[next]?.from ?? from);
  function* packsHere(): Generator<StoredObject> {
    for (let packed = packs[next]; packed?.from === expected; packed = packs[next]) {
      yield { term, session, batch: packed.from, size: packed.bytes, pack: packed.packId, packed };
      expected = packed.to;
      next += 1;
    }
  }
  const after = expected > 0 ? { after: batchKey({ ...claim, batch: expected - 1 }) } : {};
  for await (const { key, size } of listAll(objects, sessionPrefix(claim.vpgId, term, session), after)) {
    const place = parseBatchKey(key);
    if (place === undefined) continue;
    yield* packsHere();
    if (place.batch < expected) continue;
    if (place.batch !== expected) return;
    expected += 1;
    yield { term, session, batch: place.batch, size };
  }
  yield* packsHere();
}

/** `load` of each item in order, up to `ahead` under way at a time. An error is thrown when its turn comes, and not before. */
export async function* loadedAhead<T, R>(
  items: AsyncIterable<T>,
  ahead: number,
  load: (item: T) => Promise<R>,
): AsyncGenerator<{ readonly item: T; readonly loaded: Promise<R> }> {
  const underWay: { item: T; loaded: Promise<R> }[] = [];
  for await (const item of items) {
    const loaded = load(item);
    // Awaited by the consumer in its turn, or never when it stops before: not an unhandled rejection.
    loaded.catch(() => undefined);
    underWay.push({ item, loaded });
    const first = underWay.length >= ahead ? underWay.shift() : undefined;
    if (first !== undefined) yield first;
  }
  yield* underWay;
}

/** How far a chain is: what the next batch has to go on from. */
export interface ChainEnd {
  /** Last sequence so far; 0 before the first batch, -1 where it is not known. */
  readonly sequence: number;
  readonly hash: Uint8Array | undefined;
  /** Nothing may follow. */
  readonly closed: boolean;
}

/** Checks that each batch of a session goes on where the one before it ended. */
export class SessionChain {
  /** Last sequence so far; 0 before the first batch. */
  sequence: number;
  #hash: Uint8Array | undefined;
  #closed: boolean;

  constructor(end: ChainEnd = { sequence: 0, hash: undefined, closed: false }) {
    this.sequence = end.sequence;
    this.#hash = end.hash;
    this.#closed = end.closed;
  }

  get end(): ChainEnd {
    return { sequence: this.sequence, hash: this.#hash, closed: this.#closed };
  }

  /** What is wrong with this batch as the next one, or undefined. After a gap in what could be read, `hash` of the one before is unknown. */
  next(header: BatchHeader, hash: Uint8Array): string | undefined {
    const problem = this.#problem(header);
    this.sequence = header.lastSequence;
    this.#hash = hash;
    this.#closed = header.events.some(endsSession);
    return problem;
  }

  /** The batch could not be read: the one after it is not held against it. */
  skip(): void {
    this.sequence = -1;
    this.#hash = undefined;
  }

  #problem(header: BatchHeader): string | undefined {
    if (this.#closed) return "follows the close or final of its session";
    if (this.sequence >= 0 && header.firstSequence !== this.sequence + 1) {
      return `starts at sequence ${header.firstSequence}, not ${this.sequence + 1}`;
    }
    if (this.#hash !== undefined && !bytesEqual(header.previousHash, this.#hash)) {
      return "does not name the hash of the batch before it";
    }
    return undefined;
  }
}
