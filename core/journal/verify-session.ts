import { Corrupt, type FarshoreError } from "#core/errors.ts";
import { type StoredBatches, storedAs } from "#core/recovery/stored-batches.ts";
import type { BatchHeader } from "./batch.ts";
import { damageOf } from "./damage.ts";
import { decodePrefix, decodeSeal } from "./decode.ts";
import { hexOf } from "./digest.ts";
import { batchHash } from "./hash.ts";
import { verifyConcurrency } from "./limits.ts";
import type { SessionClaim } from "./session-claim.ts";
import { type ChainEnd, loadedAhead, SessionChain, type StoredObject } from "./session-walk.ts";
import { type BatchBounds, type VolumeBounds, verifyBatch } from "./verify-batch.ts";

/** Where the check of a session stands: what the next of its objects is held against. */
export interface SessionStand {
  /** Number of the next batch. */
  readonly batch: number;
  readonly chain: ChainEnd;
  readonly volumes: ReadonlyMap<number, VolumeBounds>;
}

/** One object of a session's run, read whole. */
export interface VerifiedObject {
  readonly key: string;
  /** 0 when nothing could be read. */
  readonly bytes: number;
  /** `broken`: it doesn't go on from the one before, so the journal ends before it. */
  readonly kind: "batch" | "pack" | "seal" | "broken";
  /** Undefined of a seal, and of what can't be read. */
  readonly header: BatchHeader | undefined;
  /** What is wrong with it: errors of the contract, never retryable ones. */
  readonly damage: readonly FarshoreError[];
  readonly problem?: string;
  /** After it. */
  readonly stand: SessionStand;
}

/** Before a session's first batch. */
export function sessionStart({ volumes }: SessionClaim): SessionStand {
  const bounds = new Map<number, VolumeBounds>(volumes.map((entry) => [entry.volume, entry]));
  return { batch: 0, chain: new SessionChain().end, volumes: bounds };
}

/** A stand at a batch of which nothing is known but its number: the first object is not held against the one before it. */
export function standAt(batch: number, claim: SessionClaim): SessionStand {
  const start = sessionStart(claim);
  return batch === 0 ? start : { ...start, batch, chain: { sequence: -1, hash: undefined, closed: false } };
}

/**
 * Reads every byte of a session's objects and checks it: place, SHA-256, the chain of hashes, sequences, bounds, and that each frame
 * decompresses. Ends behind a seal or what breaks the chain. What is damaged, or lies on a medium that can't be read, is told and
 * passed over; what else the store itself throws, like `Transient`, is thrown, unless `judge` says what that is of the object.
 */
export async function* verifySession(
  stored: StoredBatches,
  claim: SessionClaim,
  places: AsyncIterable<StoredObject>,
  from = sessionStart(claim),
  judge: (key: string, error: unknown) => FarshoreError | undefined = (_, error) => damageOf(error),
): AsyncGenerator<VerifiedObject> {
  const chain = new SessionChain(from.chain);
  const volumes = new Map(from.volumes);
  const { vpgId } = claim;
  for await (const { item, loaded } of loadedAhead(places, verifyConcurrency, (place) => stored.whole(place))) {
    const key = stored.keyOf(item);
    const { packed } = item;
    const damage: FarshoreError[] = [];
    const judged = (error: unknown): FarshoreError | undefined => judge(key, error);
    const bytes = await attempted(damage, judged, () => loaded);
    const read =
      bytes &&
      (await attempted(damage, judged, async () =>
        storedAs(key, () => check(key, bytes, { ...item, vpgId, volumes })),
      ));
    if (bytes !== undefined && packed !== undefined && hexOf(batchHash(bytes)) !== packed.sha256) {
      damage.push(new Corrupt(`${key} is not the pack that the digest names`, { key }));
    }
    const told = { key, bytes: bytes?.length ?? 0, damage };
    const stand = (batch: number): SessionStand => ({ batch, chain: chain.end, volumes: new Map(volumes) });
    if (read === "seal") {
      yield { ...told, kind: "seal", header: undefined, stand: stand(item.batch + 1) };
      return;
    }
    const kind = packed === undefined ? "batch" : "pack";
    const next = packed?.to ?? item.batch + 1;
    if (read === undefined || bytes === undefined) {
      chain.skip();
      yield { ...told, kind, header: undefined, stand: stand(next) };
      continue;
    }
    const before = stand(item.batch);
    const problem = chain.next(read, packed === undefined ? batchHash(bytes) : Buffer.from(packed.lastHash, "hex"));
    if (problem !== undefined) {
      yield { ...told, kind: "broken", header: read, problem, stand: before };
      return;
    }
    resize(volumes, read);
    yield { ...told, kind, header: read, stand: stand(next) };
  }
}

async function attempted<T>(
  damage: FarshoreError[],
  judged: (error: unknown) => FarshoreError | undefined,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const found = judged(error);
    if (found === undefined) throw error;
    damage.push(found);
    return undefined;
  }
}

function check(key: string, bytes: Uint8Array, bounds: BatchBounds): BatchHeader | "seal" {
  if (decodePrefix(bytes).kind === "batch") return verifyBatch(bytes, bounds);
  const seal = decodeSeal(bytes);
  for (const field of ["vpgId", "term", "session", "batch"] as const) {
    if (seal[field] !== bounds[field]) throw new Corrupt(`${key} is a seal of another ${field}`, { key, field });
  }
  return "seal";
}

function resize(volumes: Map<number, VolumeBounds>, { events }: BatchHeader): void {
  for (const event of events) {
    const bounds = event.kind === "resize" ? volumes.get(event.volume) : undefined;
    if (event.kind === "resize" && bounds !== undefined) {
      volumes.set(event.volume, { sectorBytes: bounds.sectorBytes, sizeBytes: event.sizeBytes });
    }
  }
}
