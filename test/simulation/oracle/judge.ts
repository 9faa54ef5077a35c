import { type GuestLog, numberIn, sectorBytes, type Write } from "./guest-log.ts";

/** When a checkpoint was made, in true time: known exactly, or between two instants where its maker's clock was wrong. */
export interface Instant {
  readonly earliest: number;
  readonly latest: number;
}

/**
 * Invariant 1, by the clients' log alone. An image must show every write that was acknowledged before the instant, none that was
 * submitted after it, and of those in between a set that is closed under "acknowledged before submitted", over all volumes. Answers
 * what is wrong, sector by sector.
 */
export function judge(log: GuestLog, images: ReadonlyMap<number, Uint8Array>, instant: Instant): string[] {
  const seen = [...images].flatMap(([volume, image]) =>
    Array.from({ length: image.length / sectorBytes }, (_, sector) => {
      const offset = sector * sectorBytes;
      const all = log.writesOf(volume, offset);
      const number = numberIn(image, offset);
      const shown = all.filter((write) => write.shows === number && write.submittedAt <= instant.latest);
      return { place: `${volume}/${offset}`, number, all, shown };
    }),
  );
  // A sector that only one write explains proves that this write is in the image, and so all that it followed.
  const newest = seen.reduce((most, { shown: [only, ...others] }) => {
    return only === undefined || others.length > 0 ? most : Math.max(most, only.submitted);
  }, -1);
  const must = (write: Write): boolean => write.ackedAt < instant.earliest || write.acked < newest;
  const explains = (write: Write, all: readonly Write[]): boolean =>
    all.every((other) => !must(other) || write.over >= other.submitted);
  return seen
    .filter(({ all, shown }) => !shown.some((write) => explains(write, all)))
    .map(({ place, number, all }) => {
      const known = all.slice(-4).map(({ id, acked }) => (acked === Number.POSITIVE_INFINITY ? `${id}?` : `${id}`));
      return `${place} shows ${number ?? "a mixture"} where ${known.join(", ")} were written`;
    });
}
