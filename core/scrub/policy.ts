import { z } from "zod";
import { scrubLimits as limits } from "./limits.ts";

/** How a VPG's journal is read back, in its definition. */
export const scrubSchema = z.strictObject({
  /** Bytes a second; 0 for never. Absent: so that the whole journal is read once in `roundMs`. */
  journalBytesPerSecond: z.int().min(0).max(limits.bytesPerSecondMax).exactOptional(),
});
export type ScrubPolicy = z.infer<typeof scrubSchema>;

/** Bytes a second at which a journal of that size is read back now; 0 for not at all. */
export function journalRate(policy: ScrubPolicy | undefined, totalBytes: number, asked: boolean): number {
  const { journalBytesPerSecond } = policy ?? {};
  if (asked) return Math.max(limits.askedBytesPerSecond, journalBytesPerSecond ?? 0);
  return journalBytesPerSecond ?? Math.max(limits.bytesPerSecondLeast, Math.ceil((totalBytes * 1000) / limits.roundMs));
}
