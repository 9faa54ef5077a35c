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

/** Views opened of every volume and history in a round: enough for a p99. */
export const viewOpenings = 201;
export const viewOpeningsQuick = 21;

/** Batches of a journal that ages, one a minute: a day and more of history, in which most has been thinned and packed. */
export const agedBatches = 1600;
export const agedBatchesQuick = 320;

/** Pause between two looks at a site. */
export const pollMs = 25;
/** Replication comes to rest, or a first sync ends, within this. */
export const replicatingMs = 300_000;

/** The disk of a first copy. */
export const syncDiskBytes = 4 * GiB;
export const syncDiskBytesQuick = GiB / 2;

/** The two cores that the aim of hashing is said for, and how long each way of it is measured. */
export const hashThreads = 2;
export const hashSeconds = 3;
export const hashSecondsQuick = 1;

/** Of a delta sync's disk, what was changed behind its gateway's back. */
export const changedShare = 0.05;

/** What a round of ingest sends: 4 MiB batches of so much in all, and so many batches of one write. */
export const ingestBytes = GiB / 2;
export const ingestSmallBatches = 2000;
/** How long the requests of a gateway are counted: some checkpoint intervals. */
export const requestSeconds = 20;
export const requestSecondsQuick = 6;

/** The disk that `view write` writes, and the random writes that make its journal less tidy. */
export const viewDiskBytes = 2 * GiB;
export const viewDiskBytesQuick = GiB / 4;
export const overwrites = 100_000;
export const overwritesQuick = 4000;

/** Each of the two disks that are failed over. */
export const rtoDiskBytes = GiB;
export const rtoDiskBytesQuick = GiB / 8;

/** The lowest priority that Linux has: 1.5 % of a CPU that others want. */
export const niceMost = 19;
