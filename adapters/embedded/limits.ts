/** Bounds of the embedded adapters. */

/** File names kept in memory from folder listings, over all folders: 2 million names are about 150 MB at most. */
export const cachedNamesMax = 2_000_000;
/** Folders remembered as made and durable; past it the memory starts over and pays one fsync a folder again. */
export const knownFoldersMax = 20_000;
/** A folder's listing is cached only if the folder had been still for so long: many times the grain of a file system's clock. */
export const folderStillMs = 2_000;
/** File sizes asked for at once by one listing: enough to fill the libuv pool, not so many that writes queue behind. */
export const statsAtOnce = 32;
/** Ranges up to this are read synchronously: a batch's header whole, or a frame's part. */
export const readNowBytesMax = 65_536;
/** Age after which a temporary file is nobody's, even if a process has its number: no put takes an hour. */
export const temporaryAgeMsMax = 3_600_000;

/** A configuration, token or certificate file larger than this is none. */
export const namedFileBytesMax = 1_048_576;

/** How long a statement waits for another process's transaction before it is `Transient`. */
export const tableBusyMs = 5_000;
/** Bytes of JSON in one page of a query: as DynamoDB does, so that callers follow the cursor and memory is bounded. */
export const queryPageBytesMax = 1_048_576;

/** A program that tells people has this long; then the notice counts as not told. */
export const notifyCommandMs = 30_000;
