/** Bounds of the AWS adapters. */
import type { RetryPolicy } from "#core/retry.ts";

/** Tries of one call, the first included; the SDK waits up to 100 ms, 200 ms, … between them, longer when it is throttled. */
export const attemptsMax = 4;
/** A connection inside a region opens in a few milliseconds; one that takes a second is better tried again elsewhere. */
export const connectMsMax = 1_000;
/** One try of a call that carries no object: DynamoDB and Step Functions answer in tens of milliseconds. */
export const requestMsMax = 5_000;
/** One try of an S3 call: a part of 16 MiB at 1 MiB/s. */
export const objectRequestMsMax = 16_000;
/** Connections a process keeps to one service: the sixteen batches a gateway has in flight, and as many reads beside them. */
export const socketsMax = 64;

/** Bodies above this go up in parts: a layer, never a batch (4 MiB). S3 itself takes up to 5 GiB in one piece. */
export const singlePutBytesMax = 32 * 1024 * 1024;
/** A part's size; S3 wants at least 5 MiB and at most 10,000 parts, so an object ends at 156 GiB. */
export const partBytes = 16 * 1024 * 1024;
/** Parts under way at once. */
export const partsInFlightMax = 4;

/** Creating an object that somebody else is creating right now (409): the other one is done within a moment. */
export const conflictRetry: RetryPolicy = { attemptsMax: 8, baseMs: 50, capMs: 1_000 };
/** A write that met a transaction on the same item. */
export const transactionRetry: RetryPolicy = { attemptsMax: 8, baseMs: 20, capMs: 500 };

/** DynamoDB's numbers: 38 digits, which a double never needs, and these magnitudes ("Naming rules and data types"). */
export const numberMagnitudeMax = 9.99e125;
export const numberMagnitudeMin = 1e-130;

/** Characters that Step Functions takes of a failure's name and cause; longer ones are cut. */
export const failureErrorCharactersMax = 256;
export const failureCauseCharactersMax = 32_768;

/** Deletes in one BatchWriteItem: DynamoDB's bound. */
export const deletesPerCall = 25;
/** Deletes that DynamoDB was too busy for: a table that is emptied at once is spread over more partitions within a minute. */
export const unprocessedRetry: RetryPolicy = { attemptsMax: 12, baseMs: 100, capMs: 10_000 };

/** Versions of one DeleteObjects request: S3's own most. */
export const deletedAtOnce = 1000;
