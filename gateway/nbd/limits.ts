/** Bounds of the NBD server and client. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** The most one READ or WRITE may carry; advertised as the maximum block size, and what clients assume by default. */
export const requestBytesMax = 32 * MiB;
/** Advertised as the preferred block size: the page of the cache below. */
export const preferredBlockBytes = 4 * KiB;
/** One connection's payloads that are read, written or waiting to be sent; past it its socket is not read. One request always goes on. */
export const inFlightBytesPerConnectionMax = 32 * MiB;
/** One connection's requests without a reply; past it its socket is not read. */
export const inFlightRequestsPerConnectionMax = 1024;
/** The same for all connections of a server together. */
export const inFlightBytesTotalMax = 128 * MiB;
/** Replies that a client has not taken from its socket; past it nothing more is read from that client. */
export const unsentRepliesMax = 4096;
/** Connections of one server; a further one is closed at once. */
export const connectionsMax = 128;
/** Exports of one server. */
export const exportsMax = 4096;
/** A client that has not chosen an export by then is dropped. */
export const handshakeMs = 10_000;
/** The data of one option: a name of 4096 bytes and a list of information requests fit. More is an attack: the connection is dropped. */
export const optionBytesMax = 16 * KiB;
/** Options before the choice of an export. */
export const optionsMax = 256;
/** A string of the protocol (names, descriptions), by its own rule. */
export const stringBytesMax = 4096;

/** Requests are parsed, and small replies collected, in buffers of this size. */
export const stageBytes = 256 * KiB;
/** Payloads up to this size stay in the stage; larger ones are read straight into a buffer of their own. */
export const smallPayloadBytesMax = 64 * KiB;
/** Free buffers that a server keeps for reuse; the rest is left to the collector. */
export const pooledFreeBytesMax = 64 * MiB;

/** A path of a Unix socket longer than this does not fit every platform's sockaddr_un (104 bytes on macOS). */
export const socketPathBytesMax = 100;

/** Requests of our client without a reply; a further one is refused. */
export const clientPendingMax = 4096;
/** Our client waits this long for a connection and its handshake. */
export const clientConnectMs = 10_000;
