/** Bounds and grains of the sync (R14). */

/** Grain of what a sync ships: chunks that differ are looked into in blocks of this size, the smallest that file systems write. */
export const blockBytes = 4096;
/** Of a block's SHA-256: so long that no two blocks of all disks there are have the same one by chance. */
export const blockHashBytes = 16;
/** Chunks whose blocks' hashes one request may ask for, 2 KiB each: the API's bound. */
export const blockHashChunksMax = 64;
/** Block hashes that a journal's reader keeps between the comparison of chunks and of their blocks: 2 KiB each, so of 4 GiB. */
export const keptBlockHashBytesMax = 16 * 1024 * 1024;
/** Up to so many suspects in a page, their blocks' hashes are asked for at once: the site then reads only these chunks, not the page. */
export const directBlockHashesMax = 256;
/** Where the target holds nothing, zeros of a chunk are left out in pieces of this size: smaller ones compress to nothing. */
export const firstCopyPieceBytes = 64 * 1024;
/** A chunk that guests keep writing to is read again so often, then under the range lock. */
export const overlappedReadsMax = 3;
/** Bytes of one SHA-256. */
export const hashBytes = 32;
/** Chunks that are read together to be hashed: 16 MiB. */
export const hashWindowChunks = 32;
/** Pages of a sync above which its site starts a delta-sync for it: below, the requests of the gateway's own comparison are as quick. */
export const plannedPagesMin = 4;
/** The JSON in front of a page's hashes or wants: some 250 bytes. */
export const pageHeaderBytesMax = 1024;
/** A page's hashes with everything before them: 64 KiB, a bit for each of 2048 chunks, the header and what says how long it is. */
export const pageObjectBytesMax = 2048 * 32 + 256 + pageHeaderBytesMax + 8;
/** Pages whose references one round of the state machine carries in its payload: some 60 KB of the 256 KiB there are, as are their results. */
export const pagesPerRoundMax = 500;
/** Pages that are compared at once, each by an execution and a function of its own. */
export const pagesAtOnceDefault = 100;
