import type { Position } from "#core/journal/position.ts";
import { ChunkBitmap } from "#core/sync/chunk-bitmap.ts";

/** Labels of the one sync, as heartbeats tell them. */
export type SyncLabel = "initial-sync" | "delta-sync" | "bitmap-sync";

/** What hashes are compared with: the journal's image as of a position, or nothing at all, which reads as zeros. */
export type SyncBasis = { readonly kind: "empty" } | { readonly kind: "image"; readonly upTo: Position };

/** One volume's standing towards the journal. Only the session log changes it. */
export class VolumeTrack {
  /** Number inside this gateway: the place in the configuration's list. The journal's own number comes with the session. */
  readonly index: number;
  readonly sizeBytes: number;
  journalVolume = 0;
  /** Chunks that may differ from the journal's image. */
  readonly suspects: ChunkBitmap;
  /** Grows with every suspicion that is added: a comparison begun before is void. */
  revision = 0;
  /** The revision that `basis` was taken after. */
  basisRevision = -1;
  basis: SyncBasis = { kind: "empty" };
  /** sync-begin stands in the journal, and sync-end doesn't yet. */
  syncing = false;
  /** The session counts it as unlike its journal until a sync has begun and ended, also one of no chunk. */
  owed = false;
  label: SyncLabel = "delta-sync";
  /** What the next session is to call its sync, where that goes on from the one before. */
  nextLabel: SyncLabel | undefined;
  /** The journal has nothing of it. */
  isNew = false;

  constructor(index: number, sizeBytes: number) {
    this.index = index;
    this.sizeBytes = sizeBytes;
    this.suspects = new ChunkBitmap(sizeBytes);
  }

  suspect(offset: number, length: number): void {
    this.suspects.addBytes(offset, length);
    this.revision += 1;
  }

  suspectAll(): void {
    this.suspects.addAll();
    this.revision += 1;
  }
}
