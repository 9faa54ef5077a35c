import { Corrupt, Transient } from "#core/errors.ts";
import type { SealReason } from "#core/journal/batch.ts";
import { encodeSeal } from "#core/journal/encode.ts";
import { batchKey, parseSessionClaimKey, sessionClaimPrefix, sessionPrefix } from "#core/journal/keys.ts";
import { batchNumberMax } from "#core/journal/limits.ts";
import { listAll } from "#core/list-all.ts";
import type { Site } from "#core/site.ts";
import { protectionLimits as limits } from "./limits.ts";
import { readStored } from "./read-object.ts";
import type { SessionProgress } from "./session-progress.ts";
import { getSession, refreshProgress, type SessionState } from "./session-store.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** The term and session that follow a sealed one; 0 when none does. */
export interface Following {
  readonly term: number;
  readonly session: number;
}

const nothingFollows: Following = { term: 0, session: 0 };

type SealedVpg = Pick<VpgRecord, "vpgId">;

/**
 * R8: ends a session from outside by creating a SEAL under its first absent batch number; whoever creates that number
 * first decides, so it tries again behind every batch that came in between. Returns the session's final run, recorded in
 * the table. Sealing a sealed session changes nothing. Throws `NotFound` when it was never opened.
 */
export async function sealSession(
  site: Site,
  vpg: SealedVpg,
  term: number,
  session: number,
  why: SealReason,
  following = nothingFollows,
): Promise<SessionProgress> {
  const state = await getSession(site, vpg.vpgId, session);
  for (let attempt = 0; attempt < limits.sealAttemptsMax; attempt += 1) {
    const progress = await refreshProgress(site, state);
    if (progress.end === "sealed") return progress;
    const batch = progress.end === "open" ? progress.batches : await firstAbsent(site, state);
    if (batch === undefined) return progress;
    const seal = encodeSeal({
      vpgId: vpg.vpgId,
      term,
      session,
      batch,
      siteId: site.siteId,
      reason: why,
      followingTerm: following.term,
      followingSession: following.session,
      sealedAt: site.clock.now(),
    });
    const created = await site.objects.put(batchKey({ vpgId: vpg.vpgId, term, session, batch }), seal, {
      ifAbsent: true,
    });
    if (created === "created") {
      site.log.info("session-sealed", { vpgId: vpg.vpgId, term, session, batch, reason: why });
    }
    if (progress.end === "broken" && created === "created") return progress;
  }
  throw new Transient(`session ${session} grows faster than it can be sealed; try again`, { session });
}

/**
 * Seals every session of a term that isn't sealed yet; safe to repeat. Goes by the bucket's claims, so that an open that
 * was cut off before the table knew of it is sealed too. Mint the next term first: after that no session of this one opens.
 */
export async function sealSessionsOf(
  site: Site,
  vpg: SealedVpg,
  term: number,
  why: SealReason = "failover-committed",
  following = nothingFollows,
): Promise<void> {
  for await (const { key } of listAll(site.objects, sessionClaimPrefix(vpg.vpgId))) {
    const session = parseSessionClaimKey(key)?.session;
    if (session === undefined) throw new Corrupt(`${key} is not the name of a session`, { key });
    const { claim } = await getSession(site, vpg.vpgId, session);
    if (claim.term === term) await sealSession(site, vpg, term, session, why, following);
  }
}

/** Of a session whose run broke: the first number nobody took behind the break; undefined when a SEAL took one. */
async function firstAbsent(site: Site, { vpgId, claim, progress }: SessionState): Promise<number | undefined> {
  const prefix = sessionPrefix(vpgId, claim.term, claim.session);
  for (let batch = progress.batches; batch <= batchNumberMax; batch += 1) {
    const stored = await readStored(site.objects, { vpgId, term: claim.term, session: claim.session, batch });
    if (stored === undefined) return batch;
    if (stored.kind === "seal") return undefined;
  }
  throw new RangeError(`${prefix} is full`);
}
