import type { Pack } from "#core/journal/digest.ts";

/** The pack that stands for the batch. */
export function packAt(packs: readonly Pack[], batch: number): Pack | undefined {
  let low = 0;
  let high = packs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((packs[middle]?.to ?? 0) <= batch) low = middle + 1;
    else high = middle;
  }
  const pack = packs[low];
  return pack !== undefined && pack.from <= batch ? pack : undefined;
}
