import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { BucketJournal, type SessionRun } from "#core/journal/bucket-journal.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { highestTerm } from "#core/protection/terms.ts";
import { findVpg } from "#core/protection/vpg-store.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { oldCheckpointsLookedAt, stepsPerBucketLook } from "../limits.ts";
import type { Protection } from "../protection.ts";
import { Violation } from "../violation.ts";
import { simVolumes } from "../volumes.ts";
import type { World } from "../world.ts";
import { Acknowledged } from "./acknowledged.ts";
import { checkImages, checkMoved, type SeenCheckpoint } from "./images.ts";

/** What the invariants remember of one VPG. */
interface Known {
  /** The highest term that the bucket was seen to have, and the newest session. */
  term: number;
  session: number;
  /** Every checkpoint that was ever listed, by id. */
  readonly listed: Map<string, SeenCheckpoint>;
  /** Session to the last sequence of its valid run, once it was sealed. */
  readonly sealed: Map<number, number>;
}

/** What must hold after every step (design, section 2), by looking at the bucket, the table and the guests' own log. */
export class Invariants {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #known = new Map<Id, Known>();
  readonly #acknowledged = new Acknowledged();
  readonly #moved = new Set<Id>();
  #steps = 0;
  /** Checkpoints whose images were judged, each time counted. */
  judged = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random("invariants");
  }

  /** Throws the `Violation` that it finds first. `thorough` looks at the whole bucket whatever the step. */
  async check(thorough = false): Promise<void> {
    this.#world.throwIfViolated();
    await this.#heard();
    this.#steps += 1;
    for (const protection of this.#world.protections) {
      const [message] = protection.recovered.violations;
      if (message !== undefined) throw new Violation("one writer", message);
      await this.#checkListing(protection);
      await this.#checkPins(protection);
      await this.#checkColdStart(protection);
      await this.#checkMoves(protection);
    }
    if (thorough || this.#steps % stepsPerBucketLook === 0) {
      for (const protection of this.#world.protections) {
        for (const vpgId of protection.vpgIds) await this.checkBucket(protection, vpgId, thorough);
      }
    }
    this.#world.throwIfViolated();
  }

  /** Ids of the checkpoints that the site lists now; undefined when its table doesn't know the VPG. */
  async listed(protection: Protection, vpgId: Id): Promise<readonly SeenCheckpoint[] | undefined> {
    const site = protection.site.seen();
    if ((await findVpg(site, vpgId)) === undefined) return undefined;
    const all: SeenCheckpoint[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await listCheckpoints(site, vpgId, { limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
      all.push(...page.checkpoints);
      if (page.cursor === undefined) return all;
      cursor = page.cursor;
    }
  }

  /** Invariants 1, 2, 3 by the bucket alone. */
  async checkBucket(protection: Protection, vpgId: Id, all = false): Promise<void> {
    const { objects } = protection.site;
    const journal = await BucketJournal.open(objects, vpgId);
    if (journal.damage !== undefined) throw new Violation("independent", `the bucket: ${journal.damage.message}`);
    this.#acknowledged.check(vpgId, journal.sessions);
    const known = this.#of(vpgId);
    await this.#checkAuthority(protection, vpgId, journal.sessions, known);
    for (const { claim, end, lastSequence } of journal.sessions) {
      const before = known.sealed.get(claim.session);
      if (before !== undefined && (end.kind !== "sealed" || before !== lastSequence)) {
        throw new Violation(
          "one writer",
          `session ${claim.session} of ${protection.name} was sealed at ${before} and ends at ${lastSequence} now`,
        );
      }
      if (end.kind === "sealed") known.sealed.set(claim.session, lastSequence);
    }
    const offline = new Map(journal.checkpoints().map((checkpoint) => [checkpoint.id, checkpoint]));
    for (const id of known.listed.keys()) {
      if (!offline.has(id)) throw new Violation("independent", `checkpoint ${id} was listed and is not in the bucket`);
    }
    const ids = [...offline.keys()];
    const some = all ? ids : Array.from({ length: oldCheckpointsLookedAt }, () => ids[this.#random.below(ids.length)]);
    for (const id of some) {
      const checkpoint = id === undefined ? undefined : offline.get(id);
      if (checkpoint === undefined) continue;
      const { session, sequence, time } = checkpoint;
      await checkImages(protection, journal, { id: checkpoint.id, time, position: { session, sequence } }, "offline");
      this.judged += 1;
    }
  }

  /** Invariant 4 by the bucket: nobody opens a session of a term that is over, and no session is open beside a newer one. */
  async #checkAuthority(
    { site, name }: Protection,
    vpgId: Id,
    sessions: readonly SessionRun[],
    known: Known,
  ): Promise<void> {
    for (const { claim } of sessions) {
      if (claim.session > known.session && claim.term < known.term) {
        const opened = `session ${claim.session} of ${name} was opened in term ${claim.term}`;
        throw new Violation("one writer", `${opened} when term ${known.term} had been claimed`);
      }
    }
    const open = sessions.slice(0, -1).find(({ end }) => end.kind !== "sealed");
    if (open !== undefined) {
      throw new Violation("one writer", `session ${open.claim.session} of ${name} was followed and never sealed`);
    }
    known.session = sessions.at(-1)?.claim.session ?? 0;
    known.term = (await highestTerm({ objects: site.objects }, vpgId))?.n ?? 0;
  }

  /** R17: a gateway that was started while recovered VMs ran has not let its own write. */
  async #checkColdStart({ source, site, recovered, vpgId, forgotten, name }: Protection): Promise<void> {
    if (source.exports?.takesWrites(`${name}/vm/${simVolumes[0]?.name}`) !== true) return;
    for (const [operationId, since] of recovered.running) {
      if (since >= source.startedAt || forgotten.has(operationId)) continue;
      const operation = await findOperation(site.seen(), operationId);
      // Of a failed one its error says that somebody must see to its VMs.
      if (operation?.vpgId !== vpgId || operation.phase === "Failed") continue;
      throw new Violation("one writer", `${source.name} was started and takes writes beside the VMs of ${operationId}`);
    }
  }

  /** Looks once at what each move recovered, while its source is still stopped. */
  async #checkMoves(protection: Protection): Promise<void> {
    const { recovered, site, vms } = protection;
    for (const [operationId, { attached, detached, body }] of recovered.folders) {
      if (!attached || detached || this.#moved.has(operationId) || vms.running.size > 0) continue;
      const operation = await findOperation(site.seen(), operationId);
      if (operation?.kind !== "move" || protection.forgotten.has(operationId)) continue;
      this.#moved.add(operationId);
      const journal = await BucketJournal.open(site.objects, body.vpgId);
      const instant = { earliest: vms.stoppedAt, latest: this.#world.clock.now() };
      await checkMoved(protection, journal, body.upTo, instant);
    }
  }

  async #checkListing(protection: Protection): Promise<void> {
    const { vpgId } = protection;
    const listed = await this.listed(protection, vpgId);
    if (listed === undefined) return;
    const known = this.#of(vpgId);
    const fresh = listed.filter(({ id }) => !known.listed.has(id));
    const old = Array.from({ length: oldCheckpointsLookedAt }, () => listed[this.#random.below(listed.length)]);
    const journal = new TableJournal(protection.site.seen(), vpgId);
    for (const checkpoint of [...fresh, ...old]) {
      if (checkpoint === undefined) continue;
      await checkImages(protection, journal, checkpoint, "through the table");
      this.judged += 1;
      const { id, time, position } = checkpoint;
      known.listed.set(id, { id, time, position });
    }
  }

  /** Invariant 9: what an operation that has volumes attached rests on is pinned, unless its table was made anew since. */
  async #checkPins(protection: Protection): Promise<void> {
    const { site, recovered } = protection;
    for (const [operationId, { attached, detached, promoted, body }] of recovered.folders) {
      if (!attached || detached || promoted || body.vpgId !== protection.vpgId) continue;
      const operation = await findOperation(site.seen(), operationId);
      if (operation === undefined || hasEnded(operation) || protection.forgotten.has(operationId)) continue;
      const listed = await this.listed(protection, body.vpgId);
      const checkpoint = listed?.find(({ id }) => id === body.checkpointId);
      if (checkpoint === undefined) {
        throw new Violation("pins", `checkpoint ${body.checkpointId} is attached by ${operationId} and not listed`);
      }
    }
  }

  /** Invariant 2 and R17: what gateways were told. */
  async #heard(): Promise<void> {
    for (const { method, path, gateway, beganAt } of this.#world.answered.splice(0)) {
      if (method === "PUT") this.#acknowledged.add(path);
      if (method === "POST" && path.endsWith("/sessions")) await this.#checkGrant(gateway, beganAt);
    }
  }

  async #checkGrant(gateway: string, beganAt: number): Promise<void> {
    const protection = this.#world.protections.find(({ source }) => source.name === gateway);
    if (protection === undefined) return;
    for (const [operationId, since] of protection.recovered.running) {
      if (since >= beganAt) continue;
      const operation = await findOperation(protection.site.seen(), operationId);
      // A table from before the operation knows nothing of it, and nothing in the bucket says more.
      if (operation === undefined || protection.forgotten.has(operationId)) continue;
      if (operation.vpgId !== protection.vpgId || operation.phase === "Failed") continue;
      throw new Violation(
        "one writer",
        `${gateway} was granted its VMs while those of operation ${operationId} (${operation.phase}) run`,
      );
    }
  }

  #of(vpgId: Id): Known {
    const known = this.#known.get(vpgId) ?? { term: 0, session: 0, listed: new Map(), sealed: new Map() };
    this.#known.set(idSchema.parse(vpgId), known);
    return known;
  }
}
