import type { VolumeTrack } from "../tap/volume-track.ts";

/**
 * Block hashes of suspects that were read to be compared as wholes, until it is known whether they differ: of those that do only the
 * blocks that differ are read again. Bounded for all volumes of a sync together; where there is no more room a chunk is hashed twice.
 */
export class KeptHashes {
  readonly #bytesMax: number;
  readonly #chunks = new Map<VolumeTrack, Map<number, { readonly revision: number; readonly blocks: Uint8Array }>>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** `revision`: the track's from before the chunk was read. */
  keep(track: VolumeTrack, chunk: number, revision: number, blocks: Uint8Array): void {
    this.take(track, chunk, revision);
    if (this.#bytes + blocks.length > this.#bytesMax) return;
    const ofTrack = this.#chunks.get(track) ?? new Map();
    this.#chunks.set(track, ofTrack.set(chunk, { revision, blocks }));
    this.#bytes += blocks.length;
  }

  /** Undefined too when suspicion was added since: the bytes that were hashed may be of before. Nothing is given twice. */
  take(track: VolumeTrack, chunk: number, revision: number): Uint8Array | undefined {
    const ofTrack = this.#chunks.get(track);
    const kept = ofTrack?.get(chunk);
    if (kept === undefined) return undefined;
    ofTrack?.delete(chunk);
    this.#bytes -= kept.blocks.length;
    return kept.revision === revision ? kept.blocks : undefined;
  }
}
