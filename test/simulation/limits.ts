import { encodingSegments } from "../../gateway/limits.ts";
import { segmentCountedBytes } from "../../gateway/tap/segment.ts";

/** A gateway's buffer: room for one open segment and a little, so that an outage of some seconds overflows it. */
export const gatewayBufferBytes = (encodingSegments + 1) * segmentCountedBytes + 12 * 1024;

/** Actions of one run; what a run takes grows with the square of it, since journals grow. */
export const stepsDefault = 220;

/** Between two actions, ms of virtual time. */
export const pauseMsMax = 2500;

/** After the last fault everything must be well again within this. */
export const recoveryMs = 620_000;

/** Old checkpoints looked at again after a step, and steps between two looks at the whole bucket. */
export const oldCheckpointsLookedAt = 1;
export const stepsPerBucketLook = 8;

/** So that a sync of the small disks takes seconds, in which things go wrong. */
export const syncBytesPerSecond = 512 * 1024;

/** How long a recovery gateway works on a command, for the same reason. */
export const attachMs = 800;
export const bootMs = 1200;
export const promoteMs = 4000;

/** Housekeeping comes more often than at a real site, so that it meets everything else. */
export const compactEveryMs = 15_000;
export const collectEveryMs = 20_000;
export const scrubEveryMs = 12_000;
/** At which disks are compared with the journal: a round of them takes some seconds. */
export const scrubBytesPerSecond = 1024 * 1024;
/** A round of all of it, with heartbeats before, so that it knows what time it is. */
export const housekeepingMs = 50_000;

/** Of every VPG: after the longest leap a journal is thinned to one checkpoint in so many seconds. */
export const retention = {
  tiers: [
    { everyMs: 0, forMs: 600_000 },
    { everyMs: 20_000, forMs: 4 * 3_600_000 },
  ],
  taggedMs: 3_600_000,
} as const;
export const historyMs = 24 * 3_600_000;
/** How long everybody sleeps at times: longer than a thinning's, a collection's, a pack's and a lost tail's bounds. */
export const leapsMs = [20 * 60_000, 70 * 60_000, 3 * 3_600_000, 25 * 3_600_000] as const;
/** What clocks may be off together: a site's, a gateway's, and a step that retention takes for a correction. */
export const clockSlackMs = 200_000;
