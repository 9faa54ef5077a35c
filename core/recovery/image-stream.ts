import { chunkBytes, chunkOf, pageBytes, pageOf } from "#core/blocks/geometry.ts";
import { InvalidInput } from "#core/errors.ts";
import type { FrameInfo } from "#core/journal/batch.ts";
import { concurrently } from "./concurrently.ts";
import { fetchConcurrency, streamRunsMax, streamWindowBytes } from "./limits.ts";
import { RunList } from "./run-list.ts";
import { copyRun, type View, type VisibleRun } from "./view.ts";

/**
 * Bytes of a volume's image. They share memory with a cache or are overwritten by the next piece: use them before
 * asking for more, and never change them.
 */
export interface ImagePiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface ImageRange {
  /** First byte; default 0. */
  readonly from?: number;
  /** End; default the volume's size. */
  readonly to?: number;
}

export interface ImageStreamOptions extends ImageRange {
  /** Bytes put together at a time: whole chunks that divide 1 GiB. */
  readonly windowBytes?: number;
}

/**
 * All data of a view in order of offset; what lies between the pieces is zeros. A frame is decoded once per window that
 * it shows in: once or twice when it was written in order, more often when it was written at random.
 */
export async function* imageInOrder(view: View, options: ImageStreamOptions = {}): AsyncGenerator<ImagePiece> {
  const windowBytes = options.windowBytes ?? streamWindowBytes;
  if (!(windowBytes > 0) || windowBytes % chunkBytes !== 0 || pageBytes % windowBytes !== 0) {
    throw new InvalidInput(`a window of ${windowBytes} bytes is not whole chunks that divide 1 GiB`);
  }
  const to = options.to ?? view.sizeBytes;
  let window: Uint8Array | undefined;
  let page = -1;
  for (let start = options.from ?? 0; start < to; ) {
    const stop = Math.min(to, (Math.floor(start / windowBytes) + 1) * windowBytes);
    const runs = new RunList();
    if (pageOf(start) !== page) await view.freshen();
    page = pageOf(start);
    const next = await collect(view, start, stop, runs, Number.POSITIVE_INFINITY);
    if (runs.count > 0) {
      window ??= Buffer.allocUnsafeSlow(Math.min(windowBytes, view.sizeBytes));
      await fill(view, runs, window, start);
      for (const { offset, length } of runs.ranges()) {
        yield { offset, bytes: window.subarray(offset - start, offset - start + length) };
      }
    }
    start = next;
  }
}

/**
 * All data of a view, each byte once, in no order of offset: for targets that take writes anywhere. A frame is decoded
 * once for every `streamRunsMax` pieces, whatever the order it was written in.
 */
export async function* imageInAnyOrder(view: View, options: ImageRange = {}): AsyncGenerator<ImagePiece> {
  const to = options.to ?? view.sizeBytes;
  for (let start = options.from ?? 0; start < to; ) {
    const runs = new RunList();
    await view.freshen();
    start = await collect(view, start, to, runs, streamRunsMax);
    yield* decoded(view, runs);
  }
}

/** Adds what shows from `start` on, chunk by chunk, until `to` or until there are about `most` runs; returns how far it came. */
async function collect(view: View, start: number, to: number, runs: RunList, most: number): Promise<number> {
  let place = start;
  let page = -1;
  while (place < to && runs.count + chunkBytes / 512 <= most) {
    if (pageOf(place) !== page) {
      page = pageOf(place);
      if (await view.isEmptyPage(page)) {
        place = (page + 1) * pageBytes;
        continue;
      }
    }
    const stop = Math.min(to, (chunkOf(place) + 1) * chunkBytes);
    for (const run of await view.runsOf(place, stop)) runs.push(run);
    place = stop;
  }
  return place;
}

async function fill(view: View, runs: RunList, window: Uint8Array, windowStart: number): Promise<void> {
  const later: (readonly VisibleRun[])[] = [];
  for (const group of runs.byFrame()) {
    const raw = frameAtHand(view, group);
    if (raw === undefined) later.push(group);
    else for (const run of group) copyRun(run, raw, window, windowStart);
  }
  await concurrently(later, fetchConcurrency, async (group) => {
    const raw = await frameOf(view, group);
    for (const run of group) copyRun(run, raw, window, windowStart);
  });
}

/** A frame as it is stored, with what of it shows in the image. */
export interface StoredFrame {
  readonly info: FrameInfo;
  /** Not checked yet. */
  readonly stored: Uint8Array;
  readonly runs: readonly VisibleRun[];
  /** Grows to the end of the range as frames are given: how far the work is. */
  readonly reached: number;
}

/** What `imageInAnyOrder` decodes, not decoded: for whoever does that in several threads. */
export async function* storedFrames(view: View, options: ImageRange = {}): AsyncGenerator<StoredFrame> {
  const to = options.to ?? view.sizeBytes;
  for (let start = options.from ?? 0; start < to; ) {
    const runs = new RunList();
    const from = start;
    await view.freshen();
    start = await collect(view, start, to, runs, streamRunsMax);
    let given = 0;
    const load = (first: VisibleRun) => view.reader.storedFrame(first.batch, first.frame);
    for await (const { group, loaded } of loadedAhead(runs.byFrame(), load)) {
      given += group.length;
      const reached = from + Math.floor(((Math.min(start, to) - from) * given) / Math.max(given, runs.count));
      yield { info: loaded.info, stored: loaded.bytes, runs: group, reached };
    }
  }
}

async function* decoded(view: View, runs: RunList): AsyncGenerator<ImagePiece> {
  const load = (first: VisibleRun) => view.reader.frame(first.batch, first.frame);
  for await (const { group, loaded } of loadedAhead(runs.byFrame(), load)) {
    for (const run of group) {
      yield { offset: run.offset, bytes: loaded.subarray(run.frameOffset, run.frameOffset + run.length) };
    }
  }
}

/** Frames are asked for ahead of the one whose pieces are being used, many at once, so that neighbours may be read together. */
async function* loadedAhead<T>(
  groups: Generator<readonly VisibleRun[]>,
  load: (first: VisibleRun) => Promise<T>,
): AsyncGenerator<{ readonly group: readonly VisibleRun[]; readonly loaded: T }> {
  const ahead: { group: readonly VisibleRun[]; loading: Promise<T> }[] = [];
  for (;;) {
    while (ahead.length < 2 * fetchConcurrency) {
      const group: readonly VisibleRun[] = groups.next().value ?? [];
      const [first] = group;
      if (first === undefined) break;
      const loading = load(first);
      // Awaited in its turn below, where the error is thrown; until then it must not count as unhandled.
      loading.catch(() => undefined);
      ahead.push({ group, loading });
    }
    if (ahead.length === 0) return;
    for (const { group, loading } of ahead.splice(0, fetchConcurrency)) yield { group, loaded: await loading };
  }
}

function frameAtHand(view: View, group: readonly VisibleRun[]): Uint8Array | undefined {
  const [first] = group;
  return first && view.reader.peekFrame(first.batch, first.frame);
}

async function frameOf(view: View, group: readonly VisibleRun[]): Promise<Uint8Array> {
  const [first] = group;
  if (first === undefined) return new Uint8Array(0);
  return view.reader.frame(first.batch, first.frame);
}
