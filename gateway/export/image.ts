import type { View } from "#core/recovery/view.ts";

/** What lies under a scratch: a volume as of one position. Its content never changes, so anybody may read it at any time without a lock. */
export interface Image {
  readonly sizeBytes: number;
  /** Fills the whole of `target` with what stands at `offset`, bytes. Rejects with a named error when the journal can't be read. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** True when the range is known to be zeros without reading any data; false says nothing. */
  knownZero(offset: number, length: number): Promise<boolean>;
}

/** A view of the journal as an image. */
export function imageOf(view: View): Image {
  return {
    sizeBytes: view.sizeBytes,
    read: (offset, target) => view.read(offset, target),
    knownZero: (offset, length) => view.isZeroRange(offset, length),
  };
}
