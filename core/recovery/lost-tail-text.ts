import type { LostTail } from "#core/protection/operation.ts";

/** The sentence of the report about what the source had written after the recovered checkpoint. */
export function lostTailText(lostTail: LostTail): string {
  const seconds = (lostTail.ms / 1000).toFixed(1);
  if (lostTail.certainty === "exact" && lostTail.writes === 0) return "No acknowledged write was lost.";
  if (lostTail.certainty === "exact") return `${seconds} s of acknowledged writes were not recovered.`;
  return `How much acknowledged work was not recovered is unknown, at least ${seconds} s.`;
}
