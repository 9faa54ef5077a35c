import type { SessionRun } from "#core/journal/bucket-journal.ts";
import { Violation } from "../violation.ts";

/** Batches that a gateway was told are taken, by VPG and session. What is acknowledged is never lost (invariant 2). */
export class Acknowledged {
  readonly #batches = new Map<string, Set<number>>();

  /** `path`: /gateway/v1/batches/<vpg>/<term>/<session>/<k>. */
  add(path: string): void {
    const [vpgId, , session, batch] = path.split("/").slice(4);
    const key = `${vpgId} ${session}`;
    const taken = this.#batches.get(key) ?? new Set();
    this.#batches.set(key, taken);
    taken.add(Number(batch));
  }

  /** An unbroken run that was acknowledged stands in the valid journal. */
  check(vpgId: string, sessions: readonly SessionRun[]): void {
    for (const { claim, batches } of sessions) {
      const taken = this.#batches.get(`${vpgId} ${claim.session}`) ?? new Set();
      let unbroken = 0;
      while (taken.has(unbroken)) unbroken += 1;
      if (unbroken <= batches.length) continue;
      throw new Violation(
        "durable before listed",
        `session ${claim.session} has ${batches.length} valid batches, but ${unbroken} were acknowledged`,
      );
    }
  }
}
