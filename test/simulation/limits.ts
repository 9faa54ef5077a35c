import { encodingSegments } from "../../gateway/limits.ts";
import { segmentCountedBytes } from "../../gateway/tap/segment.ts";

/** A gateway's buffer: room for one open segment and a little, so that an outage of some seconds overflows it. */
export const gatewayBufferBytes = (encodingSegments + 1) * segmentCountedBytes + 12 * 1024;

/** Actions of one run; what a run takes grows with the square of it, since journals grow. */
export const stepsDefault = 220;

/** Between two actions, ms of virtual time. */
export const pauseMsMax = 2500;

/** After the last fault everything must be well again within this. */
export const recoveryMs = 420_000;

/** Old checkpoints looked at again after a step, and steps between two looks at the whole bucket. */
export const oldCheckpointsLookedAt = 1;
export const stepsPerBucketLook = 8;

/** So that a sync of the small disks takes seconds, in which things go wrong. */
export const syncBytesPerSecond = 512 * 1024;

/** How long a recovery gateway works on a command, for the same reason. */
export const attachMs = 800;
export const bootMs = 1200;
export const promoteMs = 4000;
