/**
 * What the disk layer tells the journal, synchronously and in the order the disk acknowledged (R1).
 * Implementations copy the bytes before they return and never throw: replication never fails a guest's write.
 */
export interface Tap {
  /** `bytes` stand at `offset` (bytes) of the volume. */
  write(volume: number, offset: number, bytes: Uint8Array): void;
  /** The range reads as zeros. */
  zero(volume: number, offset: number, length: number): void;
  /** The range can't be trusted to equal the journal: it must be synced again, and no checkpoint is valid till then (R2). */
  distrust(volume: number, offset: number, length: number): void;
}
