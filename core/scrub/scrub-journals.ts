import { ConditionFailed, FarshoreError, isRetryable } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { isDamage } from "#core/journal/damage.ts";
import { manifestPrefix } from "#core/journal/keys.ts";
import { digestOf } from "#core/journal/manifest.ts";
import { CheckpointScan } from "#core/protection/checkpoint-scan.ts";
import { latestManifest } from "#core/protection/manifests.ts";
import { tryAgain } from "#core/protection/try-again.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { listVpgs } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { Allowance } from "./allowance.ts";
import { JournalWalk, type Standing } from "./journal-walk.ts";
import { scrubLimits as limits } from "./limits.ts";
import { journalRate } from "./policy.ts";
import { recheck, recheckOrder } from "./recheck.ts";
import {
  damageIn,
  type Finding,
  type KeptRecord,
  newRound,
  noted,
  readScrub,
  type ScrubRecord,
  writeScrub,
} from "./record.ts";

/** What one run read of a VPG's journal. */
export interface Scrubbed {
  readonly bytes: number;
  /** Objects that are damaged now. */
  readonly findings: number;
  /** Somebody else was at it too: what this run read last counts for nothing. */
  readonly lost: boolean;
}

/** Reads back and checks a part of every VPG's journal, as its rate allows; one's trouble doesn't keep the others waiting. */
export async function scrubJournals(site: Site): Promise<Readonly<Record<string, Scrubbed>>> {
  const results: Record<string, Scrubbed> = {};
  const troubles: unknown[] = [];
  const deadline = site.clock.monotonic() + limits.runMs;
  for (const vpg of await listVpgs(site)) {
    if (site.clock.monotonic() >= deadline) break;
    try {
      results[vpg.vpgId] = await scrubJournal(site, vpg, deadline);
    } catch (error) {
      troubles.push(error);
    }
  }
  if (troubles.length === 1) throw troubles[0];
  if (troubles.length > 1) throw new AggregateError(troubles, `${troubles.length} journals could not be scrubbed`);
  return results;
}

/**
 * The same for one VPG, until `deadline` (monotonic ms). Its item is written after each step, with the cursor and all that was found
 * up to there: killed anywhere, the next run reads a step again, and nothing counts as read that wasn't.
 */
export async function scrubJournal(site: Site, vpg: VpgRecord, deadline = Number.POSITIVE_INFINITY): Promise<Scrubbed> {
  const run = new ScrubRun(site, vpg, await readScrub(site, vpg.vpgId));
  try {
    await run.run(deadline);
    return run.result(false);
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    return run.result(true);
  }
}

class ScrubRun {
  readonly #site: Site;
  readonly #vpg: VpgRecord;
  #kept: KeptRecord;
  #bytes = 0;
  /** Bytes a second. */
  #rate = 0;

  constructor(site: Site, vpg: VpgRecord, kept: KeptRecord) {
    this.#site = site;
    this.#vpg = vpg;
    this.#kept = kept;
  }

  result(lost: boolean): Scrubbed {
    return { bytes: this.#bytes, findings: this.#kept.record.findings.length, lost };
  }

  async run(deadline: number): Promise<void> {
    const { clock } = this.#site;
    const { vpgId, definition } = this.#vpg;
    const record = begun(this.#kept.record, clock.now(), definition.scrub?.journalBytesPerSecond !== undefined);
    const { round, findings, recheckedAt, ranAt } = record;
    const asked = round?.asked === true;
    const sinceMs = clock.now() - (ranAt ?? 0);
    if (!asked && sinceMs >= 0 && sinceMs < limits.runEveryMs) return;
    const again = findings.length > 0 && clock.now() - recheckedAt >= limits.recheckEveryMs;
    if ((round === null && !again) || journalRate(definition.scrub, 0, asked) === 0) return;
    const standing = await this.#standing();
    if (standing === undefined) return;
    const totalBytes = await journalBytes(this.#site, vpgId, standing, record.totalBytes);
    this.#rate = journalRate(definition.scrub, totalBytes, asked);
    await this.#steps(standing, { ...record, totalBytes }, deadline);
    if (again) await this.#recheck(standing, recheckOrder(this.#kept.record), deadline);
  }

  /** After the steps, so that nothing of it can hold them up; one finding at least, even if they took all the time there is. */
  async #recheck(standing: Standing, findings: readonly Finding[], deadline: number): Promise<void> {
    for (const finding of findings) {
      const { record, bytes } = await recheck(this.#site, this.#vpg.vpgId, standing, this.#kept.record, finding);
      await this.#write(record, bytes, record.paidUntil);
      if (this.#site.clock.monotonic() >= deadline) return;
    }
  }

  async #steps(standing: Standing, first: ScrubRecord, deadline: number): Promise<void> {
    const { clock } = this.#site;
    for (let record = first; record.round !== null; record = this.#kept.record) {
      const earned = (Math.min(limits.savedMsMax, clock.now() - record.paidUntil) * this.#rate) / 1000;
      const allowance = new Allowance(Math.min(limits.stepBytes, earned), limits.stepObjects);
      if (!allowance.left) return;
      const walk = new JournalWalk(this.#site, this.#vpg.vpgId, standing, record, allowance);
      try {
        await walk.run();
      } finally {
        // Also when it throws: what came before is read, and what was noted is true.
        await this.#write(walk.record, allowance.taken);
      }
      if (clock.monotonic() >= deadline) return;
    }
  }

  /** What was read is paid for, unless `paidUntil` says that it need not be. */
  async #write(record: ScrubRecord, read: number, paidUntil = this.#paid(record, read)): Promise<void> {
    const { vpgId } = this.#vpg;
    const now = this.#site.clock.now();
    const before = new Set(this.#kept.record.findings.map(({ key }) => key));
    this.#kept = await writeScrub(this.#site, vpgId, this.#kept, { ...record, ranAt: now, paidUntil });
    this.#bytes += read;
    for (const { key, error, message } of record.findings) {
      if (!before.has(key)) this.#site.log.error("scrub-found-damage", { vpgId, key, error, message });
    }
  }

  #paid({ paidUntil }: ScrubRecord, read: number): number {
    const now = this.#site.clock.now();
    // A clock that was set back must not stop it.
    const from = Math.min(now, Math.max(paidUntil, now - limits.savedMsMax));
    return from + Math.ceil((read * 1000) / this.#rate);
  }

  /** Undefined when what names all else can't be read, which is noted. */
  async #standing(): Promise<Standing | undefined> {
    const { vpgId } = this.#vpg;
    try {
      const manifest = await latestManifest(this.#site, vpgId);
      return { manifest, digest: await digestOf(this.#site.objects, manifest) };
    } catch (error) {
      if (!isOfReading(error)) throw error;
      const key = error.details["key"] ?? error.details["what"];
      const where = typeof key === "string" ? key : manifestPrefix(vpgId);
      // Whoever can't list either is away as a whole, and that says nothing of this object.
      if (!isDamage(error)) await this.#site.objects.list(manifestPrefix(vpgId), { limit: 1 });
      const { record, damage } = damageIn(this.#kept.record, where, error);
      this.#rate = 1;
      await this.#write(damage === undefined ? record : noted(record, where, damage, this.#site.clock.now()), 0);
      if (damage === undefined) throw error;
      return undefined;
    }
  }
}

/** Of an object, or of the way to it. */
const isOfReading = (error: unknown): error is FarshoreError =>
  error instanceof FarshoreError && (isDamage(error) || isRetryable(error));

/** With a round, if it is time for one. */
function begun(record: ScrubRecord, now: number, hasRate: boolean): ScrubRecord {
  const { round, last } = record;
  const everyMs = hasRate ? limits.roundMsLeast : limits.roundMs;
  const due = last === null || now < last.startedAt || now - last.startedAt >= everyMs;
  return round !== null || !due ? record : { ...record, round: newRound(now, false), more: 0 };
}

/** Batches, packs and layers; as the run before knew it where an object that the sum needs can't be read: the walk says what is so. */
async function journalBytes(site: Site, vpgId: Id, { manifest }: Standing, before: number): Promise<number> {
  const parts = manifest?.layers.flatMap((layer) => layer.parts) ?? [];
  try {
    const { journalBytes: batches } = (await CheckpointScan.open(site, vpgId)).summary();
    return batches + parts.reduce((sum, { bytes }) => sum + bytes, 0);
  } catch (error) {
    if (!isOfReading(error)) throw error;
    return before;
  }
}

/** By a person: a round begins now and is read as fast as can be; one that is under way begins again. */
export async function askJournalRound(site: Site, { vpgId }: VpgRecord): Promise<void> {
  await tryAgain(`the scrub of VPG ${vpgId}`, async () => {
    const kept = await readScrub(site, vpgId);
    const now = site.clock.now();
    // What was read fast before is not waited for.
    const paidUntil = Math.min(kept.record.paidUntil, now);
    const asked = { round: newRound(now, true), recheckedAt: 0, more: 0, paidUntil };
    await writeScrub(site, vpgId, kept, { ...kept.record, ...asked });
  });
}
