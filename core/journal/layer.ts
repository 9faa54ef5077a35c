import type { BatchRef } from "#core/recovery/journal-source.ts";

/** What a part of a layer says, apart from how it is laid out in bytes (encode-layer.ts, decode-layer.ts, FORMAT.md). */

/** A batch that a section's writes are in, with all that a reader needs to fetch its header exactly. */
export type LayerSource = Required<Omit<BatchRef, "pack">> & Pick<BatchRef, "pack">;

/** Writes and zeros of one volume as columns, strictly rising by position: each a record of its batch, whole. */
export interface LayerExtents {
  readonly count: number;
  /** First sector of 512 bytes, counted from the start of the volume. */
  readonly sector: Float64Array;
  readonly sectors: Uint32Array;
  /** Place in `LayerSection.sources`; never falling. */
  readonly source: Uint32Array;
  /** As in the batch: with the source's first sequence it is the position's. */
  readonly sequenceDelta: Uint32Array;
  /** 1 write, 2 zero. */
  readonly kind: Uint8Array;
  /** Of the batch; 0 for a zero. */
  readonly frame: Uint8Array;
  /** Where the first byte stands in the frame's raw bytes; 0 for a zero. */
  readonly frameOffset: Uint32Array;
}

/** Where a section stands and what it is of: an entry of a part's directory. */
export interface SectionPlace {
  readonly volume: number;
  /** The chunk (512 KiB), counted from the start of the volume, at or behind which all its extents begin. */
  readonly firstChunk: number;
  /** The last chunk that one of them reaches. */
  readonly lastChunk: number;
  readonly extentCount: number;
  readonly sourceCount: number;
  /** Where its bytes start in the object. */
  readonly start: number;
  readonly length: number;
  readonly crc32: number;
  /** Its sources may be packs. */
  readonly packed: boolean;
}

export interface LayerSection extends Pick<SectionPlace, "volume" | "firstChunk" | "lastChunk"> {
  readonly extents: LayerExtents;
  /** Ascending by position, each with at least one extent. */
  readonly sources: readonly LayerSource[];
}

/** A part's place. */
export interface LayerPartPlace {
  readonly vpgId: string;
  /** ULID. */
  readonly layerId: string;
  /** Number in the layer, from 0. */
  readonly part: number;
}

export interface LayerHeader extends LayerPartPlace {
  readonly minor: number;
  readonly headerLength: number;
  readonly objectLength: number;
  /** By volume and first chunk, never falling. */
  readonly sections: readonly SectionPlace[];
}

/** Empty columns with room for `capacity` extents. */
export function newLayerExtents(capacity: number): LayerExtents {
  return {
    count: capacity,
    sector: new Float64Array(capacity),
    sectors: new Uint32Array(capacity),
    source: new Uint32Array(capacity),
    sequenceDelta: new Uint32Array(capacity),
    kind: new Uint8Array(capacity),
    frame: new Uint8Array(capacity),
    frameOffset: new Uint32Array(capacity),
  };
}
