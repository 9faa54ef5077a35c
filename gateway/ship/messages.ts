import type { ErrorDetails } from "#core/errors.ts";
import type { SiteAddress } from "../control/site-client.ts";
import type { SealedSegment, SegmentBuffers } from "../tap/segment.ts";
import type { SessionPlace } from "./press.ts";

/** What the main thread starts a ship worker with. */
export interface ShipWorkerData {
  readonly site: SiteAddress;
  readonly place: SessionPlace;
}

/** Main thread to worker; the segment's buffers are transferred. */
export type ToShipWorker =
  | { readonly kind: "segment"; readonly segment: SealedSegment }
  /** Undefined for no limit. */
  | { readonly kind: "rate"; readonly bytesPerSecond: number | undefined }
  | { readonly kind: "stop" };

interface ErrorMessage {
  readonly name: string;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** Worker to main thread; the buffers are transferred back. */
export type FromShipWorker =
  | {
      readonly kind: "encoded";
      readonly batch: number;
      readonly storedBytes: number;
      readonly buffers: SegmentBuffers;
      readonly hash: Uint8Array;
    }
  | { readonly kind: "acknowledged"; readonly batch: number }
  | { readonly kind: "stopped"; readonly error: ErrorMessage }
  | { readonly kind: "troubled"; readonly error: ErrorMessage };
