import { Corrupt } from "#core/errors.ts";
import type { Objects } from "#core/ports.ts";
import type { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { BatchHeader, Seal } from "./batch.ts";
import { hexOf, type Pack } from "./digest.ts";
import { readConcurrency } from "./limits.ts";
import type { SessionClaim } from "./session-claim.ts";
import { loadedAhead, SessionChain, type StoredObject, unbrokenRun } from "./session-walk.ts";

/**
 * What ends a session's valid run: nothing yet (the next number is absent), a SEAL, or a batch that doesn't go on from the
 * one before it. Several processes may store such a batch at the same time; it and what follows it never were journal.
 */
export type RunEnd =
  | { readonly kind: "open" }
  | { readonly kind: "sealed"; readonly seal: Seal }
  | { readonly kind: "broken"; readonly key: string; readonly problem: string };

/**
 * The one rule of which batches of a session are valid, for whoever reads the bucket: `each` gets them in order, headers
 * only. A pack of the newest digest is one of them, and its hash is that of the last batch it stands for. Throws `Corrupt` for an
 * object that the store changed: damage is no end of journal.
 */
export async function readValidRun(
  objects: Pick<Objects, "list">,
  stored: StoredBatches,
  claim: SessionClaim,
  packs: readonly Pack[],
  each: (place: StoredObject, header: BatchHeader, hash: Uint8Array) => void | Promise<void>,
): Promise<RunEnd> {
  const chain = new SessionChain();
  let before: StoredObject | undefined;
  const places = unbrokenRun(objects, claim, packs);
  for await (const { item, loaded } of loadedAhead(places, readConcurrency, (place) => stored.object(place))) {
    const { object, hash: own } = await loaded;
    const hash = item.packed === undefined ? own : Buffer.from(item.packed.lastHash, "hex");
    if (item.packed !== undefined && hexOf(own) !== item.packed.sha256) {
      const key = stored.keyOf(item);
      throw new Corrupt(`${key} is not the pack that the digest names`, { key });
    }
    if (object.kind === "seal") return { kind: "sealed", seal: object.seal };
    const problem = chain.next(object.header, hash);
    if (problem !== undefined) {
      // Links are compared with hashes as they are stored: only when the one before is whole is it this one that breaks.
      if (before !== undefined) await stored.assertWhole(before);
      return { kind: "broken", key: stored.keyOf(item), problem };
    }
    await each(item, object.header, hash);
    before = item;
  }
  return { kind: "open" };
}
