import { Corrupt, FarshoreError } from "#core/errors.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import { factsOf, listCheckpoints, type SessionFacts } from "#core/protection/checkpoint.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Digest } from "./digest.ts";
import { JournalFacts } from "./journal-facts.ts";
import { journalPrefix, manifestPrefix, parseBatchKey, sessionClaimPrefix } from "./keys.ts";
import { problemsMax } from "./limits.ts";
import { digestOf, newestManifestInBucket } from "./manifest.ts";
import type { SessionClaim } from "./session-claim.ts";
import { sessionClaims, unbrokenRun } from "./session-walk.ts";
import { verifySession } from "./verify-session.ts";

export interface JournalProblem {
  readonly key: string;
  /** Name of the error, as in core/errors.ts. */
  readonly error: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly vpgId: string;
  readonly sessions: number;
  readonly sealedSessions: number;
  /** Batches, and packs in place of others. */
  readonly batches: number;
  readonly packs: number;
  /** Stored bytes of those. */
  readonly bytes: number;
  /** Valid by R12 and kept by retention, before the first damage. */
  readonly checkpoints: number;
  /** Objects behind a seal, a gap or a batch that breaks its session's chain (itself too), or of no session: they never existed, and no reader shows them. */
  readonly voidObjects: number;
  /** In order of discovery; at most `problemsMax`. */
  readonly problems: readonly JournalProblem[];
}

export interface VerifyProgress {
  readonly batches: number;
  readonly bytes: number;
}

/**
 * Reads every byte of a VPG's valid journal and checks it against itself: session objects, places, SHA-256, the chain of
 * hashes, sequences, bounds, and that each frame decompresses. Problems are collected and the reading goes on behind
 * them; only what the store itself throws, like `Transient`, is thrown.
 */
export async function verifyJournal(
  objects: Pick<Objects, "get" | "list">,
  vpgId: string,
  onProgress: (progress: VerifyProgress) => void = () => undefined,
): Promise<VerifyReport> {
  return new Verifier(objects, vpgId, onProgress).run();
}

class Verifier {
  readonly #objects: Pick<Objects, "get" | "list">;
  readonly #vpgId: string;
  readonly #onProgress: (progress: VerifyProgress) => void;
  readonly #stored: StoredBatches;
  readonly #problems: JournalProblem[] = [];
  readonly #sessions: SessionFacts[] = [];
  readonly #facts = new JournalFacts();
  /** Nothing damaged so far: what comes behind damage is checked too, but none of its checkpoints counts. */
  #whole = true;
  #digest: Digest | undefined;
  #packs = 0;
  #read = 0;
  #sealed = 0;
  #batches = 0;
  #bytes = 0;

  constructor(objects: Pick<Objects, "get" | "list">, vpgId: string, onProgress: (progress: VerifyProgress) => void) {
    this.#objects = objects;
    this.#vpgId = vpgId;
    this.#onProgress = onProgress;
    this.#stored = new StoredBatches(objects, vpgId);
  }

  async run(): Promise<VerifyReport> {
    await this.#readDigest();
    await this.#allSessions();
    let stored = 0;
    for await (const { key } of listAll(this.#objects, journalPrefix(this.#vpgId))) {
      if (!this.#isReplaced(key)) stored += 1;
    }
    const valid = listCheckpoints(this.#sessions, this.#facts.syncFacts, this.#facts.markers);
    return {
      vpgId: this.#vpgId,
      sessions: this.#read,
      sealedSessions: this.#sealed,
      batches: this.#batches,
      bytes: this.#bytes,
      packs: this.#packs,
      checkpoints: valid.filter((checkpoint) => this.#digest?.lists(checkpoint) !== false).length,
      voidObjects: stored - (this.#batches - this.#packs) - this.#sealed,
      problems: this.#problems,
    };
  }

  async #readDigest(): Promise<void> {
    try {
      this.#digest = await digestOf(this.#objects, await newestManifestInBucket(this.#objects, this.#vpgId));
    } catch (error) {
      const key = error instanceof Corrupt ? (error.details["key"] ?? error.details["what"]) : undefined;
      this.#damage(typeof key === "string" ? key : manifestPrefix(this.#vpgId), error);
    }
  }

  /** A pack stands for it, and it is deleted some time. */
  #isReplaced(key: string): boolean {
    const place = parseBatchKey(key);
    const packs = place === undefined ? [] : (this.#digest?.packsOf(place.session) ?? []);
    return packs.some(({ from, to }) => place !== undefined && from <= place.batch && place.batch < to);
  }

  async #allSessions(): Promise<void> {
    try {
      for await (const claim of sessionClaims(this.#objects, this.#vpgId)) {
        this.#read += 1;
        await this.#session(claim);
      }
    } catch (error) {
      const key = error instanceof Corrupt ? error.details["key"] : undefined;
      this.#damage(typeof key === "string" ? key : sessionClaimPrefix(this.#vpgId), error);
    }
  }

  async #session(claim: SessionClaim): Promise<void> {
    const places = unbrokenRun(this.#objects, claim, this.#digest?.packsOf(claim.session));
    let prefixSequence = 0;
    for await (const object of verifySession(this.#stored, claim, places)) {
      const { key, kind, bytes, header } = object;
      for (const error of object.damage) this.#damage(key, error);
      if (kind === "seal") this.#sealed += 1;
      if (kind === "broken") this.#problem(key, "Diverged", `${object.problem}; the session's journal ends before it`);
      if (kind === "seal" || kind === "broken") break;
      this.#batches += 1;
      if (kind === "pack") this.#packs += 1;
      this.#bytes += bytes;
      this.#onProgress({ batches: this.#batches, bytes: this.#bytes });
      if (header === undefined) continue;
      if (this.#whole) prefixSequence = header.lastSequence;
      this.#facts.add(header.session, header.events);
    }
    this.#sessions.push(factsOf(claim, prefixSequence));
  }

  #damage(key: string, error: unknown): void {
    if (!(error instanceof FarshoreError) || error.kind === "retryable") throw error;
    this.#whole = false;
    this.#problem(key, error.name, error.message);
  }

  #problem(key: string, error: string, message: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push({ key, error, message });
  }
}
