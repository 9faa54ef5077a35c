/**
 * How a volume is cut. Sectors are the grain of exactness, chunks the grain of hashing, reuse and lazy reading,
 * pages the grain of an index. The last chunk and the last page of a volume may be short.
 */

/** The finest grain of any record; volumes with 4096-byte sectors are held to theirs at capture. */
export const sectorBytesMin = 512;

export const sectorSizes: readonly number[] = [512, 4096];

export const chunkBytes = 512 * 1024;

export const sectorsPerChunk = chunkBytes / sectorBytesMin;

export const chunksPerPage = 2048;

/** 1 GiB. */
export const pageBytes = chunksPerPage * chunkBytes;

export const sectorsPerPage = pageBytes / sectorBytesMin;

/** The page that holds the byte at `offset`. */
export function pageOf(offset: number): number {
  return Math.floor(offset / pageBytes);
}

/** The chunk, counted over the whole volume, that holds the byte at `offset`. */
export function chunkOf(offset: number): number {
  return Math.floor(offset / chunkBytes);
}

/** How many chunks a volume of `sizeBytes` has; the last may be short. */
export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / chunkBytes);
}

/** How many pages a volume of `sizeBytes` has; the last may be short. */
export function pageCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / pageBytes);
}
