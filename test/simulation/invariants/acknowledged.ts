import type { BucketJournal, SessionRun } from "#core/journal/bucket-journal.ts";
import { Violation } from "../violation.ts";

/** Batches that a gateway was told are taken, by site, VPG and session. What is acknowledged is never lost (invariant 2). */
export class Acknowledged {
  readonly #batches = new Map<string, Set<number>>();

  /** `path`: /gateway/v1/batches/<vpg>/<term>/<session>/<k>. */
  add(siteName: string, path: string): void {
    const [vpgId, , session, batch] = path.split("/").slice(4);
    const key = `${siteName} ${vpgId} ${session}`;
    const taken = this.#batches.get(key) ?? new Set();
    this.#batches.set(key, taken);
    taken.add(Number(batch));
  }

  /** An unbroken run that was acknowledged stands in the valid journal. */
  check(siteName: string, journal: BucketJournal): void {
    for (const run of journal.sessions) {
      const { session } = run.claim;
      const taken = this.#batches.get(`${siteName} ${journal.vpgId} ${session}`) ?? new Set();
      let unbroken = 0;
      while (taken.has(unbroken)) unbroken += 1;
      const end = endOf(journal, run);
      if (unbroken <= end) continue;
      throw new Violation(
        "durable before listed",
        `session ${session} at ${siteName} has ${end} valid batches, but ${unbroken} were acknowledged`,
      );
    }
  }
}

/** How many batches the valid run stands for; a pack is one object and many of them. */
function endOf(journal: BucketJournal, { claim, batches }: SessionRun): number {
  const last = batches.at(-1);
  if (last === undefined) return 0;
  const packs = journal.digest?.packsOf(claim.session) ?? [];
  return packs.find(({ packId }) => packId === last.pack)?.to ?? last.batch + 1;
}
