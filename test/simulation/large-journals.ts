import { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { retentionLimits } from "#core/retention/limits.ts";

/** A journal here has some kilobytes, and a limit may not be less than so much; so where limits are held a byte counts as 8 KiB. */
export const leastLimitBytes = retentionLimits.journalLimitBytesMin;
const countedAs = 8192;

const { summary } = CheckpointScan.prototype;

/** As long as this process lives; safe to repeat. */
export function countLarge(): void {
  CheckpointScan.prototype.summary = function (this: CheckpointScan) {
    const counted = summary.call(this);
    return { ...counted, journalBytes: counted.journalBytes * countedAs };
  };
}
