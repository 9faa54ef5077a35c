import { ConditionFailed, Corrupt, InvalidInput, TableBehindBucket } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import {
  parseSessionClaimKey,
  parseTermKey,
  sessionClaimKey,
  sessionClaimPrefix,
  termKey,
  termPrefix,
} from "#core/journal/keys.ts";
import { decodeSessionClaim } from "#core/journal/session-claim.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { bucketKeys } from "./keys.ts";
import { highestTaken } from "./taken.ts";
import { type Term, termSchema } from "./term.ts";
import { unknownOperation } from "./unknown-operation.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** What minting needs of a VPG; `term` is 0 before the first. */
export type TermHolder = Pick<VpgRecord, "vpgId" | "term" | "definition">;

export type NewTerm = Pick<Term, "n" | "runs" | "journal" | "fork" | "operationId">;

/**
 * R9: claims term `n` for this site by creating its object, and nothing else; the caller then records it in the table.
 * Asking again for the same operation answers with the claim as it stands. Throws `InvalidInput` when this site isn't the
 * keyholder or `n` isn't above the VPG's term, `ConditionFailed` when another operation of this site claimed that number,
 * `TableBehindBucket` when the bucket knows a claim that the table doesn't.
 */
export async function mintTerm(site: Site, vpg: TermHolder, term: NewTerm): Promise<Term> {
  const key = termKey(vpg.vpgId, term.n, site.siteId);
  const highest = await highestTerm(site, vpg.vpgId);
  const mine = highest?.n === term.n && highest.minter === site.siteId;
  if (mine && highest.operationId === term.operationId) return highest;
  if (mine) {
    throw new ConditionFailed(`term ${term.n} of ${vpg.definition.name} was claimed by another operation`, { key });
  }
  if (highest !== undefined && highest.n > vpg.term) throw behind(vpg, `term ${highest.n} stands in the bucket`);
  if (highest !== undefined && !isKeyholder(site.siteId, highest)) {
    throw new InvalidInput(
      `site ${site.siteName} can't mint term ${term.n} of ${vpg.definition.name}: term ${highest.n} is kept by another site`,
      { vpgId: vpg.vpgId, term: highest.n },
    );
  }
  if (term.n <= vpg.term) throw new InvalidInput(`term ${term.n} is not above ${vpg.term}`);
  const claim: Term = {
    formatVersion: 1,
    vpgId: vpg.vpgId,
    minter: site.siteId,
    parent: highest?.n ?? 0,
    mintedAt: site.clock.now(),
    ...term,
  };
  if ((await site.objects.put(key, jsonBytes(claim), { ifAbsent: true })) === "created") return claim;
  return mintTerm(site, vpg, term);
}

/** The term's journal site, or its runs site when it has no journal: only it mints the successor. */
export function isKeyholder(siteId: Id, term: Term): boolean {
  return (term.journal ?? term.runs) === siteId;
}

/** The claim with the highest number in the bucket. Throws as `chainOf`. */
export async function highestTerm(site: Pick<Site, "objects">, vpgId: Id): Promise<Term | undefined> {
  return (await chainOf(site, vpgId)).at(-1);
}

/** All claims in the bucket, ascending; `Corrupt` when two minters claimed the highest number, which only a broken chain has. */
export async function chainOf(site: Pick<Site, "objects">, vpgId: Id): Promise<readonly Term[]> {
  const terms = await termsOf(site, vpgId);
  const highest = terms.at(-1);
  if (highest !== undefined && terms.at(-2)?.n === highest.n) {
    throw new Corrupt(`two sites claimed term ${highest.n} of VPG ${vpgId}`, { vpgId, term: highest.n });
  }
  return terms;
}

/** All claims in the bucket, ascending. */
export async function termsOf(site: Pick<Site, "objects">, vpgId: Id): Promise<readonly Term[]> {
  const terms: Term[] = [];
  for await (const { key } of listAll(site.objects, termPrefix(vpgId))) {
    if (parseTermKey(key) === undefined) throw new Corrupt(`${key} is not the name of a term`, { key });
    terms.push(parseStored(termSchema, await site.objects.get(key), key));
  }
  return terms;
}

/**
 * Compares the table with the highest claims in the bucket, of terms and of sessions, with the live operations that began, and with its end. Throws `TableBehindBucket`
 * when the bucket knows more, so that a table restored from yesterday can't un-fence anyone. What this site itself began and
 * didn't get to record (the running operation's term, an open that was cut off) doesn't count against it.
 */
export async function assertTableCurrent(site: Site, vpg: VpgRecord): Promise<void> {
  const highest = await highestTerm(site, vpg.vpgId);
  if (highest === undefined) throw new Corrupt(`VPG ${vpg.vpgId} has no term in the bucket`, { vpgId: vpg.vpgId });
  const own = highest.minter === site.siteId && highest.operationId !== null && highest.operationId === vpg.operationId;
  if (highest.n > vpg.term && !(own && highest.parent === vpg.term)) {
    throw behind(vpg, `term ${highest.n} stands in the bucket, the table says ${vpg.term}`);
  }
  if (highest.n < vpg.term) throw new Corrupt(`term ${vpg.term} of VPG ${vpg.vpgId} is not in the bucket`);
  const taken = await highestTaken(site, vpg.vpgId);
  if (taken > vpg.term && vpg.role !== "Retired" && vpg.role !== "Preparing") {
    throw behind(vpg, `a peer's offer of term ${taken} was taken`);
  }
  // Its journal is purged once the table is made again: nobody may write to it until then.
  if (!vpg.deleted && (await site.objects.head(bucketKeys.deletedVpg(vpg.vpgId))) !== undefined) {
    throw behind(vpg, "it was deleted");
  }
  const operationId = await unknownOperation(site, vpg);
  // Its recovered VMs may run, and its pin went with the table.
  if (operationId !== undefined) throw behind(vpg, `operation ${operationId} began, and the table doesn't know it`);
  await assertSessionsCurrent(site, vpg);
}

/**
 * Throws `TableBehindBucket` when this site minted a term for the operation: it was committed, and whoever would undo it reads a table
 * from before that.
 */
export async function assertNotMinted(site: Site, vpg: VpgRecord, operationId: Id): Promise<void> {
  const own = (await termsOf(site, vpg.vpgId)).find((term) => term.operationId === operationId);
  if (own?.minter === site.siteId) throw behind(vpg, `term ${own.n} of operation ${operationId} stands in the bucket`);
}

async function assertSessionsCurrent(site: Site, vpg: VpgRecord): Promise<void> {
  const prefix = sessionClaimPrefix(vpg.vpgId);
  const after = sessionClaimKey(vpg.vpgId, vpg.lastSession);
  const newer = await site.objects.list(prefix, { after, limit: 2 });
  const next = newer[0];
  if (next === undefined) return;
  const session = parseSessionClaimKey(next.key)?.session;
  if (newer.length === 1 && session !== undefined && vpg.opening.length > 0) {
    const { nonce } = decodeSessionClaim(await site.objects.get(next.key));
    if (vpg.opening.some((own) => own === nonce)) return;
  }
  throw behind(vpg, `session ${session ?? next.key} stands in the bucket, the table says ${vpg.lastSession}`);
}

function behind(vpg: TermHolder, what: string): TableBehindBucket {
  return new TableBehindBucket(
    `the table is behind the bucket for ${vpg.definition.name}: ${what}. ` +
      "Nothing is opened or started until the table is made again: stop the site, run farshore site rebuild, start it.",
    { vpgId: vpg.vpgId, term: vpg.term },
  );
}
