import type { BatchRange } from "#core/journal/manifest.ts";

/** The same ranges by session, neighbours as one. */
export function joinedRanges(ranges: readonly BatchRange[]): BatchRange[] {
  const all: BatchRange[] = [];
  for (const range of [...ranges].sort((one, other) => one.session - other.session || one.from - other.from)) {
    const last = all.at(-1);
    if (last?.session === range.session && last.to === range.from) all[all.length - 1] = { ...range, from: last.from };
    else all.push(range);
  }
  return all;
}
