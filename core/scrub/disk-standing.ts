import { z } from "zod";
import { safeIntegerMax } from "#core/journal/limits.ts";

const count = z.int().min(0).max(safeIntegerMax);
/** 16 bytes of a SHA-256, as a sync compares blocks by. */
const blockHashHex = z.string().regex(/^[0-9a-f]{32}$/);

/** A chunk of a source's disk that was not as the journal had it at the same position. */
export const diskFindingSchema = z.strictObject({
  /** The journal's number. */
  volume: z.int().min(1),
  /** From the chunk's first block of 4 KiB that differs to the end of the last. */
  offset: count,
  length: z.int().min(1),
  session: z.int().min(0),
  sequence: count,
  /** Of the first block that differs. */
  diskHash: blockHashHex,
  journalHash: blockHashHex,
  /** By the gateway's clock. */
  foundAt: count,
  /** How often it was found, and so sent again. */
  times: z.int().min(1),
  /** Compared again after it was sent, and equal. */
  mended: z.boolean(),
});
export type DiskFinding = z.infer<typeof diskFindingSchema>;

/** Findings that one heartbeat carries: some 350 bytes each. */
export const toldFindingsMax = 8;

/** How far a gateway compared its disks with the journal, as its heartbeats tell. */
export const diskScrubSchema = z.strictObject({
  /** A round is under way. */
  running: z.boolean(),
  /** Of the round under way, or of the last. */
  comparedChunks: count,
  /** Guests wrote them whenever they were looked at. */
  skippedChunks: count,
  totalChunks: count,
  /** Since the beginning of the last whole round, when it was told; null before the first has ended. */
  ageMs: count.nullable(),
  /** 0 when it is switched off. */
  bytesPerSecond: count,
  /** Findings that stand, mended ones too, and how many of them are mended. */
  differing: count,
  mended: count,
  /** The newest. */
  findings: z.array(diskFindingSchema).max(toldFindingsMax),
});
export type DiskScrub = z.infer<typeof diskScrubSchema>;
