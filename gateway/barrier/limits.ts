/** Bounds of barriers between the source gateways of a VPG (R11). */

/** Acknowledgements are withheld no longer than this, whatever becomes of the barrier: the bound that guests are promised. */
export const holdMsMax = 250;
/**
 * Between two holds acknowledgements flow at least this long: what waited behind a held write (an overlapping one) is done by then, so
 * that no request waits for two holds.
 */
export const restMsMin = 250;
/** The coordinator waits so much longer before its next attempt: a RELEASE may have been on its way. */
export const restMarginMs = 50;
/** All gateways must have said HELD by then, so that the RELEASE still reaches them within `holdMsMax`. */
export const heldWaitMs = 150;
/** A gateway that was sent RELEASE and doesn't answer by then makes no checkpoint of this barrier. */
export const releasedWaitMs = 1000;
/** Bytes of a message; the longest is some hundred. */
export const messageBytesMax = 4096;
/** A connection says who it is within this, or is dropped. */
export const helloMs = 5000;
/** Connections that haven't said who they are yet; further ones are refused. */
export const strangersMax = 64;
/** Pauses between a gateway's attempts to reach its coordinator. */
export const reconnectMsMin = 250;
export const reconnectMsMax = 5000;
/** The kernel looks after a silent connection this often. */
export const keepAliveMs = 5000;
/** A key is the text of its file: 32 random bytes in hexadecimal are 64. Node refuses a pre-shared key of more than 512 ("TLS", `pskCallback`). */
export const keyBytesMin = 32;
export const keyBytesMax = 512;
/** A checkpoint that a person or a failover asked for is attempted so often, after a pause each time. */
export const askedAttemptsMax = 10;
export const askedPauseMs = 1000;
