import { JournalFull, ReplicationPaused } from "#core/errors.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** For what needs new batches of the source; `so` is what they are missed for. Throws `ReplicationPaused`, `JournalFull`. */
export function assertJournaled({ definition: { name }, vpgId, paused, journalFull }: VpgRecord, so: string): void {
  if (paused) {
    throw new ReplicationPaused(
      `${name} is paused: nothing is journaled, so ${so}; farshore vpg resume ${name}, then ask again`,
      { vpgId },
    );
  }
  if (journalFull) {
    throw new JournalFull(
      `the journal of ${name} has reached its limit: nothing is journaled, so ${so}; ` +
        `ask again when it has room (farshore vpg show ${name})`,
      { vpgId },
    );
  }
}
