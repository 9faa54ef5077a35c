/** Bounds of the gateway process outside its NBD server and disk layer. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** All journal data in memory of one VPG: open segments, the raw queue, encoded batches without acknowledgement (R6). */
export const bufferBytesDefault = 256 * MiB;
/** Below this a buffer could not hold the sixteen batches that may be in flight. */
export const bufferBytesMin = 96 * MiB;
export const bufferBytesMax = 16 * 1024 * MiB;
/** After an overflow, journaling starts again when the buffer holds less than this share. */
export const lowWaterShare = 0.25;
/** A sync waits while the buffer holds more than this share, so that guests have the rest. */
export const syncShare = 0.5;
/**
 * A sync also waits while so many raw bytes stand before the encoder: above the raw level, so that on a link faster than the
 * compressor the sync goes at the speed of the disks. On a slow link encoded batches fill the share first, and all is compressed well.
 */
export const syncQueueBytesMax = 80 * MiB;

/** Payload of one segment: the payload of one batch. */
export const segmentBytes = 4 * MiB;
/** Records of one segment, some below the format's bound: the last ones are kept for events. */
export const segmentRecordsMax = 12_000;
/** Records kept for events (sync-begin for every volume of a VPG, a marker) beyond `segmentRecordsMax`. */
export const segmentEventsMax = 250;
/** A sealed segment with less payload than this is copied out, so that its large buffers stay with the log. */
export const segmentCopyBytesMax = 512 * KiB;
/**
 * Segment buffers kept for reuse while there is room for them. The encoder gives several back between two turns of a busy main loop; with
 * two kept, half of all segments of a sync were new ones, and V8 began a full collection for every three or four that it had to free.
 */
export const pooledSegmentsMax = 8;
/** Segments' worth of memory that the encoder may hold beside what it works on: frames, the batch in the making, what waits for the collector. */
export const encodingSegments = 4;
/** Memory of acknowledged batch objects that is kept for the next ones, within the encoder's segments; shorter objects cost little to make. */
export const pooledObjectBytesMax = 16 * MiB;
export const pooledObjectBytesMin = 256 * KiB;

/** Batches sent and not answered. A site takes a batch no farther than this ahead of the unbroken prefix. */
export const batchesInFlightMax = 16;
/** Raw bytes before the encoder above which it compresses faster, and above which not at all: the CPU, not the link, is short. */
export const fastLevelQueueBytes = 32 * MiB;
export const rawLevelQueueBytes = 64 * MiB;
/** First and longest pause before a batch is sent again; each has up to half of jitter. */
export const resendMsMin = 100;
export const resendMsMax = 5000;
/** A refusal that a person must mend (a token, a table behind its bucket) is tried again so often. */
export const refusedResendMs = 15_000;
/** An upload without an answer is given up and sent again after so long; the second is of one that has the link for itself: 4 MiB at 50 KB/s. */
export const uploadTimeoutMs = 30_000;
export const uploadAloneTimeoutMs = 85_000;
/** Times the oldest unacknowledged batch may be refused as a gap before the site counts as regressed. */
export const gapsMax = 20;

/** Any other request to the site. Hashes of a page may need the site to read 1 GiB. */
export const requestTimeoutMs = 20_000;
export const hashesTimeoutMs = 180_000;
/** Reply to a request that is no object: hashes of a page are 64 KiB, a batch list is larger. */
export const replyBytesMax = 32 * MiB;

/** Chunks read ahead by the sync of one volume. */
export const syncReadAhead = 8;
/** Block hashes that a VPG's sync keeps of chunks whose comparison is under way: 2 KiB each, so of 4 GiB of disk. */
export const keptBlockHashBytesMax = 16 * MiB;
/** Pause before a chunk that can't be read from the disk, or a page whose hashes can't be had, is tried again. */
export const syncRetryMs = 2000;

/** How often the acknowledged position goes into the state directory while it moves. */
export const stateSaveMs = 2000;
/** A new rate, a person's or the schedule's, holds for a session within this. */
export const rateLookMs = 250;
/** A move waits so long for what is dirty or under way: its VMs are down meanwhile, so a longer backlog is better shipped before. */
export const finalWaitMs = 300_000;
/** After volumes were opened again, their session is waited for so long before the command says that it is not there. */
export const openWaitMs = 60_000;
/** A clean stop waits so long for the last acknowledgements. */
export const drainMsDefault = 30_000;
/** Pauses between attempts to open a session. */
export const openRetryMsMin = 500;
export const openRetryMsMax = 10_000;
/** A refused grant (failed over, duplicate) is asked for again so often. */
export const refusedOpenRetryMs = 15_000;

/** One hook may take so long unless its command says otherwise. */
export const hookTimeoutMsDefault = 60_000;
/** Output of a hook kept for the error message and log; the rest is read and dropped. */
export const hookOutputBytesMax = 16 * KiB;
/** After a hook's own process ended, its output is waited for so long: children it left behind may hold the pipe open. */
export const hookOutputGraceMs = 200;
/** Between SIGTERM and SIGKILL to a hook that outlives its time. */
export const hookKillGraceMs = 2000;
/** Pause between status hooks while a VM shuts down. */
export const hookStatusPollMs = 500;

/** While commands run or a sync is under way the gateway reports so often even if the site asks for less. */
export const busyHeartbeatMs = 1000;
export const heartbeatMsMin = 200;
export const heartbeatMsMax = 60_000;
/** Commands at work at once, but for the unhurried; further ones wait for the next heartbeat. */
export const commandsAtOnceMax = 16;
/** Seeds of reverse protection at work at once: each has a buffer of its own and reads whole disks. */
export const seedsAtOnceMax = 4;
/** Connections to the site for everything but batches: heartbeats, commands, hashes, reads of views. */
export const siteConnectionsMax = 16;

/** What a heartbeat says of a configuration that an edited definition waits for. */
export const configurationProblemCharactersMax = 500;

/** Intervals of a throttle's schedule: a day's hours, a week's days apart. */
export const throttlesMax = 50;

/** A delta-sync that comes while the gateway opens its session waits so long for it. */
export const sessionAwaitedMs = 60_000;
/** A sync of more than a few pages waits so long for its site to begin a delta-sync, then goes on by itself: three heartbeats. */
export const machineAwaitedMs = 15_000;
/** A delta-sync that hashed so many pages is waited for so long: the comparison of a page may take 10 s, and a hundred go at once. */
export const wantsAwaitedMs = 900_000;
export const wantsAwaitedMsPerPage = 1000;
/** Hashes of pages, or want-lists, under way at once. */
export const pageUploadsMax = 4;

/** What a scrub of disks reads while guests leave them alone; `scrub_rate` sets another, 0 none at all. */
export const scrubBytesPerSecondDefault = 8 * MiB;
/** After a start it waits so long: syncs, and guests that boot, have their time. */
export const scrubSettleMs = 600_000;
/** All disks are compared once in so long. */
export const scrubRoundMs = 30 * 86_400_000;
/** Chunks that are read and then asked for together: 16 MiB, which the site reads at once. */
export const scrubGroupChunks = 32;
/** A chunk that guests write while it is compared is read again so often, then left out of the round. */
export const scrubTriesMax = 3;
/** Above so many bytes written by guests within a look, the disks are theirs. */
export const scrubGuestBytesMax = 256 * KiB;
export const scrubLookMs = 1000;
/** Pause after a disk that can't be read or a site that can't be asked. */
export const scrubRetryMs = 30_000;
/** How often its place goes into the state directory: what a kill has it compare again. */
export const scrubSaveMs = 30_000;
/** How often it looks whether a round is due. */
export const scrubDueLookMs = 3_600_000;
/** Chunks told as different. */
export const scrubFindingsMax = 50;
/** A chunk that goes on being different is sent again so often. */
export const scrubMendsMax = 3;
