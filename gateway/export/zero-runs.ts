import { isZero } from "#core/blocks/zeros.ts";
import { holeGrainBytes } from "./limits.ts";

/** End exclusive. */
export interface ByteSpan {
  start: number;
  end: number;
}

/** Cuts content into runs of zeros and of data, at grains of `holeGrainBytes`. */
export function* zeroRuns(content: Uint8Array): Generator<ByteSpan & { zero: boolean }> {
  let start = 0;
  let zero = false;
  for (let at = 0; at < content.length; at += holeGrainBytes) {
    const grainZero = isZero(content.subarray(at, at + holeGrainBytes));
    if (at > start && grainZero !== zero) {
      yield { start, end: at, zero };
      start = at;
    }
    zero = grainZero;
  }
  if (start < content.length) yield { start, end: content.length, zero };
}
