import { InvalidInput } from "./errors.ts";
import type { ByteRange } from "./ports.ts";

/** Characters of a key: what every file system and S3 hold without escaping (S3 itself allows 1024 bytes). */
export const keyCharactersMax = 512;
/** Characters of one segment of a key: the longest file name of ext4, XFS and APFS. */
export const keySegmentCharactersMax = 255;
/** Keys in one page of a listing: S3's own bound. */
export const listPageMax = 1000;

/** The folder in which an embedded bucket keeps what is being written; no key may lie in it. */
export const reservedSegment = ".tmp";

const allowed = /^[a-z0-9/._-]*$/;

/**
 * Refuses, by `InvalidInput`, every key that `Objects` doesn't promise to hold: wrong characters or length, empty, `.` or
 * `..` segments, the reserved first segment. What passes can't leave the folder it is joined to.
 */
export function assertKey(key: string): void {
  if (key.length === 0 || key.length > keyCharactersMax)
    throw new InvalidInput(`An object key has 1 to ${keyCharactersMax} characters, this one ${key.length}.`);
  const segments = key.split("/");
  assertSegments(key, segments);
  if (segments.some((segment) => segment === ""))
    throw new InvalidInput("An object key has an empty segment.", { key });
}

/** Refuses a listing's prefix that no key could start with; the last segment may be partial or empty. */
export function assertPrefix(prefix: string): void {
  if (prefix.length > keyCharactersMax)
    throw new InvalidInput(`A prefix has at most ${keyCharactersMax} characters, this one ${prefix.length}.`);
  const whole = prefix.split("/").slice(0, -1);
  assertSegments(prefix, whole);
  if (!allowed.test(prefix) || whole.includes(""))
    throw new InvalidInput("A prefix has characters or an empty segment that no key has.", { prefix });
}

function assertSegments(key: string, segments: readonly string[]): void {
  if (!allowed.test(key)) throw new InvalidInput("An object key has only a-z 0-9 / . _ -", { key });
  for (const segment of segments) {
    if (segment === "." || segment === "..") throw new InvalidInput("An object key has a dot segment.", { key });
    if (segment.length > keySegmentCharactersMax)
      throw new InvalidInput(`A segment of an object key has at most ${keySegmentCharactersMax} characters.`, { key });
  }
  if (segments[0] === reservedSegment) throw new InvalidInput(`Keys under ${reservedSegment}/ are reserved.`, { key });
}

/** The page size of a listing; refuses what isn't a whole number from 1 to `listPageMax`. */
export function listLimit(limit: number | undefined): number {
  if (limit === undefined) return listPageMax;
  if (!Number.isInteger(limit) || limit < 1 || limit > listPageMax)
    throw new InvalidInput(`A listing's limit is a whole number from 1 to ${listPageMax}.`, { limit });
  return limit;
}

/** The part of an object of `size` bytes that `range` asks for, cut to the object's end; without a range, all of it. */
export function cutRange(range: ByteRange | undefined, size: number): ByteRange {
  if (range === undefined) return { offset: 0, length: size };
  const { offset, length } = range;
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw new InvalidInput("A range is two whole numbers from 0 on.", { offset, length });
  const start = Math.min(offset, size);
  return { offset: start, length: Math.min(length, size - start) };
}

/** Keys that are purged together. Throws `InvalidInput`. */
export function assertPurge(keys: readonly string[]): readonly string[] {
  if (keys.length > 1000) throw new InvalidInput(`at most 1000 keys are purged together, not ${keys.length}`);
  for (const [index, key] of keys.entries()) {
    assertKey(key);
    if (index > 0 && key <= (keys[index - 1] ?? "")) throw new InvalidInput("keys to purge are not in order", { key });
  }
  return keys;
}
