import type { BatchHeader } from "#core/journal/batch.ts";
import type { LayerSection } from "#core/journal/layer.ts";
import type { Position } from "#core/journal/position.ts";

/** Enough to find and read a batch of a VPG's journal. */
export interface BatchRef {
  readonly term: number;
  readonly session: number;
  readonly batch: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Bytes of the object. */
  readonly size: number;
  /** Bytes of its header where they are known: then it is read exactly. */
  readonly headerLength?: number;
  /** There when it is the pack of this id, which stands for batches from `batch` on (R13). */
  readonly pack?: string;
}

/** Where a view reads from: layers index old batches, the site's table knows which newer ones touch a page, the bucket holds them all. */
export interface JournalSource {
  /**
   * Batches of valid journal that are in no layer, have a write or zero of this volume in this page (1 GiB), and whose first
   * sequence is at or before `upTo`; in order of position. More than needed does no harm.
   */
  batchesTouching(volume: number, page: number, upTo: Position): Promise<readonly BatchRef[]>;
  /**
   * True once layers are not relied on (`OptionalLayers`), or where there never are any: what is asked from then on is told of all
   * batches and of no layer. Who asks both reads again when it changed in between. Never false again.
   */
  readonly batchesAlone: boolean;
  /**
   * What packs stand for: changes when some take the place of batches or of others. Who kept where bytes are looks again then, since
   * what was replaced is deleted an hour later.
   */
  readonly generation: string;
  /** Reads what the newest manifest says; `generation` may be another after it. */
  refresh(): Promise<void>;
  /** Sections of layers that may have the chunk (512 KiB, counted from the volume's start), in any order. */
  layerSections(volume: number, chunk: number): Promise<readonly LayerSection[]>;
  /** Whether any section of a layer may reach one of these chunks, both inclusive. */
  layersTouch(volume: number, firstChunk: number, lastChunk: number): Promise<boolean>;
  /** Throws `Corrupt` when the stored header is not that of this batch. */
  header(ref: BatchRef): Promise<BatchHeader>;
  /** Stored bytes of a frame. */
  frame(ref: BatchRef, header: BatchHeader, index: number): Promise<Uint8Array>;
}
