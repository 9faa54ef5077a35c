/** Bounds of the disk layer. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Up to this size a request on cached data is done synchronously: the hop to a pool thread costs more than the copy. */
export const syncBytesMax = 64 * KiB;
/** Zeros are written, and ranges are read again, in pieces of this size, so that no request needs a buffer of its own length. */
export const pieceBytes = MiB;
/** After a failed write at most this much is read again and journaled; a longer range is distrusted as a whole. */
export const repairBytesMax = 32 * MiB;
/** Grain in which writes since the last good flush are remembered: the chunk of the sync. */
export const flushGrainBytes = 512 * KiB;

/** A synchronous read that takes longer than this on average comes from the medium, not from the cache, and blocks the other requests. */
export const slowReadMs = 0.08;
/** A synchronous write that takes longer than this on average is being throttled by the kernel's writeback. */
export const slowWriteMs = 0.5;
/** One measured duration counts at most this much, so that one preemption of the process doesn't change the path. */
export const sampleMsMax = 1;
/** Requests that go through the pool before the synchronous path is tried again; doubled each time in vain, up to the second figure. */
export const poolRunMin = 64;
export const poolRunMax = 1024;
