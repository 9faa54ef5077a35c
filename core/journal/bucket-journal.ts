import { pageBytes } from "#core/blocks/geometry.ts";
import { Corrupt, InvalidInput } from "#core/errors.ts";
import type { Objects } from "#core/ports.ts";
import { type Checkpoint, factsOf, listCheckpoints, positionOfVolume } from "#core/protection/checkpoint.ts";
import type { BatchRef, JournalSource } from "#core/recovery/journal-source.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { BatchHeader, ExtentColumns } from "./batch.ts";
import type { Digest } from "./digest.ts";
import { JournalFacts } from "./journal-facts.ts";
import type { LayerSection } from "./layer.ts";
import { digestOf, newestManifestInBucket } from "./manifest.ts";
import { comparePositions, type Position } from "./position.ts";
import type { SessionClaim } from "./session-claim.ts";
import { sessionClaims } from "./session-walk.ts";
import { type RunEnd, readValidRun } from "./valid-run.ts";
import type { VolumeBounds } from "./verify-batch.ts";

/** A session as the bucket shows it. */
export interface SessionRun {
  readonly claim: SessionClaim;
  /** Its valid batches: the unbroken run from 0 on. */
  readonly batches: readonly BatchRef[];
  /** `damaged`: there is more of it, behind an object that can't be read. */
  readonly end: RunEnd | { readonly kind: "damaged" };
  /** 0 when it has no batch. */
  readonly lastSequence: number;
}

export interface JournalProgress {
  readonly session: number;
  readonly batches: number;
  readonly bytes: number;
}

/** Page numbers stay below 2^23 (2^53 bytes of 1 GiB), so that volume and page make one number. */
const pageStride = 2 ** 23;

/**
 * A VPG's journal read from the bucket alone (invariant 3): no table, no other site. Opening reads every header of the
 * valid journal once and keeps per batch only where it is and which pages it touches; headers are read again as a view
 * needs them.
 */
export class BucketJournal implements JournalSource {
  readonly vpgId: string;
  readonly #objects: Pick<Objects, "get" | "list">;
  readonly #stored: StoredBatches;
  #read: JournalContents;
  #shown: Position | undefined;

  private constructor(objects: Pick<Objects, "get" | "list">, vpgId: string, read: JournalContents) {
    this.#objects = objects;
    this.vpgId = vpgId;
    this.#stored = new StoredBatches(objects, vpgId);
    this.#read = read;
  }

  get sessions(): readonly SessionRun[] {
    return this.#read.sessions;
  }

  /** Of the valid journal only. */
  get facts(): JournalFacts {
    return this.#read.facts;
  }

  /**
   * The first object that the store changed, by `details.key`; undefined when there is none. The journal ends before it: every
   * later image, of later sessions too, rests on what it held.
   */
  get damage(): Corrupt | undefined {
    return this.#read.damage;
  }

  /** What retention left, by the newest manifest. */
  get digest(): Digest | undefined {
    return this.#read.digest;
  }

  /**
   * Reads session objects and batch headers, checks place, chain and sequences. What lies before the first damage is read;
   * `damage` names it, and `verifyJournal` describes all there is.
   */
  static async open(
    objects: Pick<Objects, "get" | "list">,
    vpgId: string,
    onProgress: (progress: JournalProgress) => void = () => undefined,
  ): Promise<BucketJournal> {
    return new BucketJournal(objects, vpgId, await readContents(objects, vpgId, onProgress));
  }

  /** R12 over the bucket, and what retention left of it: exactly the checkpoints that the site lists, in order of position. */
  checkpoints(): Checkpoint[] {
    const sessions = this.sessions.map(({ claim, lastSequence }) => factsOf(claim, lastSequence));
    const valid = listCheckpoints(sessions, this.facts.syncFacts, this.facts.markers);
    return valid.filter((checkpoint) => this.digest?.lists(checkpoint) !== false);
  }

  /** The position that stands for a volume in a checkpoint: with several source gateways that of its own one's session. */
  positionOf(checkpoint: Checkpoint, volume: number): Position {
    const volumesIn = (session: number): readonly number[] => {
      const run = this.sessions.find(({ claim }) => claim.session === session);
      return run?.claim.volumes.map((entry) => entry.volume) ?? [];
    };
    return positionOfVolume(checkpoint, volumesIn, volume);
  }

  /** The session's volumes with their sizes as of the position. Throws `InvalidInput` for an unknown session. */
  volumesAt(position: Position): Map<number, VolumeBounds> {
    const run = this.sessions.find((session) => session.claim.session === position.session);
    if (run === undefined) throw new InvalidInput(`no session ${position.session} in the journal of ${this.vpgId}`);
    const volumes = new Map<number, VolumeBounds>(run.claim.volumes.map((entry) => [entry.volume, entry]));
    for (const resize of this.facts.resizes) {
      const bounds = volumes.get(resize.volume);
      if (resize.session !== position.session || comparePositions(resize, position) > 0 || bounds === undefined)
        continue;
      volumes.set(resize.volume, { sectorBytes: bounds.sectorBytes, sizeBytes: resize.sizeBytes });
    }
    return volumes;
  }

  async batchesTouching(volume: number, page: number, upTo: Position): Promise<readonly BatchRef[]> {
    const refs = this.#read.touched.get(volume * pageStride + page) ?? [];
    return refs.filter((ref) => comparePositions({ session: ref.session, sequence: ref.firstSequence }, upTo) <= 0);
  }

  /** None: every batch is read here, so that nothing rests on an index that could be damaged. */
  readonly batchesAlone = true;

  get generation(): string {
    return this.digest?.fields.digestId ?? "";
  }

  /** For views of this checkpoint: throws `NoCheckpoint` when retention has let it go, and so does `refresh` from then on. */
  show(checkpoint: Position): void {
    this.digest?.assertLists(checkpoint);
    this.#shown = checkpoint;
  }

  /** Reads all headers again when packs have taken the place of batches. */
  async refresh(): Promise<void> {
    const newest = await newestManifestInBucket(this.#objects, this.vpgId);
    if ((newest?.digest?.digestId ?? "") === this.generation) return;
    const read = await readContents(this.#objects, this.vpgId, () => undefined);
    if (this.#shown !== undefined) read.digest?.assertLists(this.#shown);
    this.#read = read;
  }

  async layerSections(): Promise<readonly LayerSection[]> {
    return [];
  }

  async layersTouch(): Promise<boolean> {
    return false;
  }

  header(ref: BatchRef): Promise<BatchHeader> {
    return this.#stored.header(ref);
  }

  frame(ref: BatchRef, header: BatchHeader, index: number): Promise<Uint8Array> {
    return this.#stored.frame(ref, header, index);
  }
}

class JournalContents {
  readonly facts = new JournalFacts();
  readonly sessions: SessionRun[] = [];
  readonly touched = new Map<number, BatchRef[]>();
  readonly digest: Digest | undefined;
  damage: Corrupt | undefined;

  constructor(digest: Digest | undefined) {
    this.digest = digest;
  }

  add(ref: BatchRef, header: BatchHeader): void {
    this.facts.add(header.session, header.events);
    this.#touch(ref, header.extents);
  }

  #touch(ref: BatchRef, extents: ExtentColumns): void {
    const { count, volume, offset, length } = extents;
    let latest = -1;
    for (let index = 0; index < count; index += 1) {
      const start = offset[index] ?? 0;
      const base = (volume[index] ?? 0) * pageStride;
      const last = base + Math.floor((start + (length[index] ?? 0) - 1) / pageBytes);
      for (let page = base + Math.floor(start / pageBytes); page <= last; page += 1) {
        if (page === latest) continue;
        latest = page;
        const refs = this.touched.get(page);
        if (refs === undefined) this.touched.set(page, [ref]);
        else if (refs.at(-1) !== ref) refs.push(ref);
      }
    }
  }
}

async function readContents(
  objects: Pick<Objects, "get" | "list">,
  vpgId: string,
  onProgress: (progress: JournalProgress) => void,
): Promise<JournalContents> {
  const stored = new StoredBatches(objects, vpgId);
  // What says where batches are can't be passed over: it is thrown when it is damaged.
  const contents = new JournalContents(await digestOf(objects, await newestManifestInBucket(objects, vpgId)));
  try {
    for await (const claim of sessionClaims(objects, vpgId)) {
      await readSession(objects, stored, claim, contents, onProgress);
    }
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error;
    contents.damage = error;
  }
  return contents;
}

async function readSession(
  objects: Pick<Objects, "list">,
  stored: StoredBatches,
  claim: SessionClaim,
  contents: JournalContents,
  onProgress: (progress: JournalProgress) => void,
): Promise<void> {
  const batches: BatchRef[] = [];
  let end: SessionRun["end"] = { kind: "damaged" };
  let bytes = 0;
  try {
    const packs = contents.digest?.packsOf(claim.session) ?? [];
    end = await readValidRun(objects, stored, claim, packs, ({ packed, ...place }, header) => {
      const { firstSequence, lastSequence, headerLength } = header;
      const ref: BatchRef = { ...place, firstSequence, lastSequence, headerLength };
      batches.push(ref);
      contents.add(ref, header);
      bytes += place.size;
      onProgress({ session: claim.session, batches: batches.length, bytes });
    });
  } finally {
    contents.sessions.push({ claim, batches, end, lastSequence: batches.at(-1)?.lastSequence ?? 0 });
  }
}
