/**
 * The first segments of a bucket's keys (core/journal/keys.ts, core/protection/keys.ts). What stands here is created once, and
 * that creation is what commits, claims or decides; nothing replaces it and nothing deletes it.
 */
export const createOnceAreas = [
  "sessions",
  "terms",
  "offers",
  "vpgs",
  "deleted-vpgs",
  "annotations",
  "decisions",
  "operations",
  "reports",
  "peers",
] as const;
/** Created once too, and deleted by the collector alone, once retention has replaced it. */
export const collectedAreas = ["journal", "manifests", "digests", "packs"] as const;
/** Created once too, but made from batches and made again from them: a compactor that comes second deletes what it stored. */
export const derivedAreas = ["layers"] as const;
/** Created once, and of no use to anybody after days: a rule of the bucket lets them expire. */
export const passingAreas = ["sync"] as const;
/** A person who makes a token anew replaces the old one. */
export const replacedAreas = ["tokens"] as const;

export type BucketArea =
  | (typeof createOnceAreas)[number]
  | (typeof collectedAreas)[number]
  | (typeof derivedAreas)[number]
  | (typeof passingAreas)[number]
  | (typeof replacedAreas)[number];

/** The one object outside of any area: who the site is. Created once. */
export const identityObject = "site.json";
