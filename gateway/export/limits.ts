/** Bounds of the recovery half: scratch, hydration, journal over HTTP, exports, hooks. */

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** Grain in which scratch remembers what is local: the page of the cache and the block of most file systems. */
export const blockBytes = 4 * KiB;
/** One bit a block of 1 GiB: the piece of the bitmap that is loaded at first touch. */
export const bitmapPageBytes = GiB / blockBytes / 8;
/** The piece of the bitmap that is written when one of its bits changed; speaks for 128 MiB. */
export const bitmapSectorBytes = 4 * KiB;
/** Clean pages of a bitmap in memory past this are dropped: 32 MiB, which speaks for 1 TiB. */
export const bitmapPagesMax = 1024;
/** Pages with bits that aren't durable yet; past it the scratch flushes by itself, so that memory stays bounded for a guest that never does. */
export const dirtyBitmapPagesMax = 256;

/** Parts of a read that are already local and shorter than this are read from the image all the same, then overwritten: one long read costs less than many short ones. */
export const imageReadGapBytes = 64 * KiB;
/** Zeros are ensured, and image content adopted, in pieces of this size under the range lock, so that no guest waits longer than one of them takes. */
export const adoptPieceBytes = 4 * MiB;

/** Zeros of this length and alignment inside image content are left as holes. */
export const holeGrainBytes = 64 * KiB;

/** Neighbouring chunks that hydration reads at once: a frame of scattered writes shows in many chunks, and is decoded once for all of them. */
export const hydrateWindowBytes = 32 * MiB;
/** Such reads under way at the same time: one waits for the journal while the other is written. */
export const hydrateWindowsInFlight = 2;
/** Hydration makes its work durable each time it copied this much: what a crash makes it copy again. */
export const hydrateFlushBytes = 256 * MiB;
/** Hydration reports its progress, and lets everybody else run, at least this often in bytes of the volume. */
export const hydrateProgressBytes = 64 * MiB;

/**
 * While the site is away a recovered disk's reads wait, since an error would hurt its guest more: at most 50 ms doubling to 5 s
 * between attempts, 22 of the latter, so about two minutes in the worst case and half of that on average.
 */
export const journalRetry = { attemptsMax: 30, baseMs: 50, capMs: 5000 } as const;
/** Batches of one journal that an export may have to know: 50 bytes each, a month at one in 5 s is half a million. */
export const summariesMax = 2 ** 23;

/** Index of all views of one operation in memory; each has at least the second figure, enough for some 400,000 extents. */
export const viewIndexBytesTotal = 256 * MiB;
export const viewIndexBytesMin = 8 * MiB;

/** Hooks of one command that run at the same time: those of a boot group start together. */
export const hooksAtOnceMax = 16;
/** Pause between status hooks while a recovered VM stops. */
export const stopPollMs = 500;
/** How often detached scratches are looked through for those whose time has come. */
export const sweepMs = 60_000;
/** Connections to the site that reading journals uses. */
export const journalConnections = 16;

/** Threads that decode and write when a checkpoint is written to a file. */
export const writeThreadsMax = 4;
/** Frames (256 KiB) that wait for one such thread: enough that none is idle while the journal is read. */
export const framesPerThreadMax = 24;
/** So much written since, and the next write-back to the disk begins while frames are still decoded. */
export const writeBackBytes = 64 * MiB;
