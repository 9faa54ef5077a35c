/** Bounds and grains of the sync (R14). */

/** Grain of what a sync ships: chunks that differ are looked into in pieces of this size. */
export const subChunkBytes = 64 * 1024;
/** Chunks whose sub-hashes one request may ask for: the API's bound. */
export const subHashChunksMax = 64;
/** Up to so many suspects in a page, sub-hashes are asked for at once: the site then reads only these chunks, not the page. */
export const directSubHashesMax = 256;
/** A chunk that guests keep writing to is read again so often, then under the range lock. */
export const overlappedReadsMax = 3;
/** Bytes of one SHA-256. */
export const hashBytes = 32;
/** Chunks that are read together to be hashed: 16 MiB. */
export const hashWindowChunks = 32;
