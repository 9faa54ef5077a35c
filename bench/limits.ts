/** Bounds and sizes of the benches. */

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** Standard output of a program that is read whole: fio's JSON is some 20 KiB. */
export const outputBytesMax = 64 * MiB;
/** Of a long-running program's output the last part is kept for an error message. */
export const outputKeptBytes = 8192;
/** A server must answer so soon after its start, and end so soon after it was told to. */
export const startMs = 20_000;

/** Rounds of every measurement: the least that has a median and a range. */
export const roundsDefault = 3;

/** The disk that a guest bench writes to: larger than any cache of the CPU, small enough for memory. */
export const guestDiskBytes = GiB;
/** How long fio writes or reads at a time. */
export const fioSeconds = 3;
export const fioSecondsQuick = 1;

/** Views opened of every volume and history. */
export const viewOpenings = 7;
