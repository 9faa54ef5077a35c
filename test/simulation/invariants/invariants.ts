import type { SeededRandom } from "#adapters/faulty/seeded-random.ts";
import type { Id } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { sessionClaimKey } from "#core/journal/keys.ts";
import { decodeSessionClaim, type SessionClaim } from "#core/journal/session-claim.ts";
import { listCheckpoints } from "#core/protection/checkpoints.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { findVpg } from "#core/protection/vpg-store.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { oldCheckpointsLookedAt, stepsPerBucketLook } from "../limits.ts";
import type { Protection } from "../protection.ts";
import type { SimSite } from "../sim-site.ts";
import { Violation } from "../violation.ts";
import type { World } from "../world.ts";
import { Acknowledged } from "./acknowledged.ts";
import { checkAlarms } from "./alarms.ts";
import { checkAuthority, checkBothSites, checkColdStart, checkGrant, type KnownAuthority } from "./authority.ts";
import { checkImages, checkMoved, type SeenCheckpoint } from "./images.ts";
import { checkLetGo, type KnownCheckpoint } from "./kept.ts";

/** What the invariants remember of one VPG at one site. */
interface Known extends KnownAuthority {
  /** Every checkpoint that was ever listed and not let go since, by id. */
  readonly listed: Map<string, KnownCheckpoint>;
  readonly letGo: Set<string>;
  /** The most that a journal limit has pressed so far, as the bucket says; 0 while there was none. */
  pressure: number;
}

/** What must hold after every step (design, section 2), by looking at the buckets, the tables and the guests' own logs. */
export class Invariants {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #known = new Map<string, Known>();
  readonly #claims = new Map<string, SessionClaim>();
  readonly #acknowledged = new Acknowledged();
  readonly #moved = new Set<Id>();
  /** Of operations that a site knows to be forgotten: what their VMs may read, once it was seen in the journal. */
  readonly #held = new Map<Id, string>();
  #steps = 0;
  /** Checkpoints whose images were judged, each time counted. */
  judged = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random("invariants");
  }

  /** Throws the `Violation` that it finds first. `thorough` looks at the whole buckets whatever the step. */
  async check(thorough = false): Promise<void> {
    this.#world.throwIfViolated();
    await this.#heard();
    this.#steps += 1;
    for (const protection of this.#world.protections) {
      for (const { recovered } of protection.gateways) {
        const detached = recovered.detachedUnderVms.find((id) => !protection.forgotten.has(id));
        if (detached !== undefined)
          throw new Violation("one writer", `volumes of ${detached} were detached under running VMs`);
      }
      for (const site of protection.sites) await this.#checkListing(protection, site);
      await this.#checkPins(protection);
      await this.#checkHeld(protection);
      await checkColdStart(protection);
      await checkAlarms(protection);
      await checkBothSites(protection);
      await this.#checkMoves(protection);
    }
    if (thorough || this.#steps % stepsPerBucketLook === 0) {
      for (const protection of this.#world.protections) {
        for (const vpgId of protection.vpgIds) {
          for (const site of protection.sites) await this.#checkBucket(protection, site, vpgId, thorough);
        }
      }
    }
    this.#world.throwIfViolated();
  }

  /** What the site lists now; undefined when its table doesn't know the VPG. */
  async listed(site: SimSite, vpgId: Id) {
    const seen = site.seen();
    if ((await findVpg(seen, vpgId)) === undefined) return undefined;
    const all: Awaited<ReturnType<typeof listCheckpoints>>["checkpoints"][number][] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await listCheckpoints(seen, vpgId, { limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
      all.push(...page.checkpoints);
      if (page.cursor === undefined) return all;
      cursor = page.cursor;
    }
  }

  /** Invariants 1, 2, 3, 4 and 9 by one bucket alone. */
  async #checkBucket(protection: Protection, site: SimSite, vpgId: Id, all: boolean): Promise<void> {
    const journal = await BucketJournal.open(site.objects, vpgId);
    if (journal.damage !== undefined) throw new Violation("independent", `the bucket: ${journal.damage.message}`);
    this.#acknowledged.check(site.name, journal);
    const known = this.#of(site, vpgId);
    await checkAuthority(protection, site, vpgId, journal.sessions, known);
    const terms = new Map(journal.sessions.map(({ claim }) => [claim.session, claim.term]));
    const offline = journal.checkpoints().map(({ id, session, sequence, time }): SeenCheckpoint => {
      return { id, time, position: { session, sequence }, term: terms.get(session) ?? 0 };
    });
    known.pressure = Math.max(known.pressure, journal.digest?.fields.pressure ?? 0);
    if (known.pressure > 0 && !this.#world.limited.has(vpgId)) {
      throw new Violation(
        "pins",
        `the journal of ${protection.name} at ${site.name} is pressed by a limit that nobody set`,
      );
    }
    this.#letGo(protection, site, vpgId, offline, known);
    const some = all
      ? offline
      : Array.from({ length: oldCheckpointsLookedAt }, () => offline[this.#random.below(offline.length)]);
    for (const checkpoint of some) {
      if (checkpoint === undefined) continue;
      const { volumes } = await this.#claim(site, vpgId, checkpoint.position.session);
      await checkImages({ protection, vpgId, source: journal, volumes, by: "offline" }, checkpoint);
      this.judged += 1;
    }
  }

  #letGo(protection: Protection, site: SimSite, vpgId: Id, offline: readonly SeenCheckpoint[], known: Known): void {
    const ids = new Set(offline.map(({ id }) => id));
    const again = offline.find(({ id }) => known.letGo.has(id));
    if (again !== undefined) throw new Violation("pins", `checkpoint ${again.id} was let go and is listed again`);
    const gone = [...known.listed.values()].filter(({ id }) => !ids.has(id));
    checkLetGo(protection, site, vpgId, gone, offline, this.#world.clock.now(), this.#world.leases, known.pressure);
    for (const { id } of gone) {
      known.listed.delete(id);
      known.letGo.add(id);
    }
  }

  /** Looks once at what each move recovered, while the VMs that it moved are still stopped. */
  async #checkMoves(protection: Protection): Promise<void> {
    for (const { gateway, operationId, folder } of protection.folders()) {
      const { attached, detached, body } = folder;
      if (!attached || detached || this.#moved.has(operationId) || protection.forgotten.has(operationId)) continue;
      const { site } = gateway.own;
      const operation = await findOperation(site.seen(), operationId);
      if (operation?.kind !== "move") continue;
      const { volumes, term } = await this.#claim(site, body.vpgId, body.upTo.session);
      const from = protection.machineOf(body.vpgId, term);
      if (from === undefined) continue;
      if (from.takesWrites && !hasEnded(operation)) {
        throw new Violation("move loses nothing", `the source of ${operationId} (${operation.phase}) takes writes`);
      }
      if (from.runs) continue;
      this.#moved.add(operationId);
      const source = await BucketJournal.open(site.objects, body.vpgId);
      const instant = { earliest: from.vms.stoppedAt, latest: this.#world.clock.now() };
      await checkMoved({ protection, vpgId: body.vpgId, source, volumes, by: "moved" }, from, body.upTo, instant);
    }
  }

  async #checkListing(protection: Protection, site: SimSite): Promise<void> {
    const { vpgId } = protection;
    const listed = await this.listed(site, vpgId);
    if (listed === undefined) return;
    const vpg = await protection.vpgAt(site);
    if (vpg !== undefined) protection.learn(vpg);
    const known = this.#of(site, vpgId);
    const fresh = listed.filter(({ id }) => !known.listed.has(id));
    const old = Array.from({ length: oldCheckpointsLookedAt }, () => listed[this.#random.below(listed.length)]);
    const source = new TableJournal(site.seen(), vpgId);
    for (const checkpoint of [...fresh, ...old]) {
      if (checkpoint === undefined) continue;
      const { id, time, position, term, tags } = checkpoint;
      const { volumes } = await this.#claim(site, vpgId, position.session);
      await checkImages({ protection, vpgId, source, volumes, by: "through the table" }, checkpoint);
      this.judged += 1;
      const instant = protection.machineOf(vpgId, term)?.clock.instantOf(time) ?? { earliest: 0, latest: 0 };
      known.listed.set(id, { id, time, position, term, instant, tagged: tags.length > 0 });
    }
  }

  /** Invariant 9: what an operation that has volumes attached rests on is kept, unless its table was made anew since. */
  async #checkPins(protection: Protection): Promise<void> {
    for (const { gateway, operationId, folder } of protection.folders()) {
      const { attached, detached, promoted, body } = folder;
      if (!attached || detached || promoted || body.vpgId !== protection.vpgId) continue;
      const { site } = gateway.own;
      const operation = await findOperation(site.seen(), operationId);
      if (operation === undefined || hasEnded(operation) || protection.forgotten.has(operationId)) continue;
      const listed = await this.listed(site, body.vpgId);
      if (listed?.some(({ id }) => id === body.checkpointId)) continue;
      // In the tail that the commit of another operation left behind it is kept, and not among the VPG's own any more.
      const journal = await BucketJournal.open(site.objects, body.vpgId);
      if (!journal.checkpoints().some(({ id }) => id === body.checkpointId)) {
        throw new Violation("pins", `checkpoint ${body.checkpointId} is attached by ${operationId} and not listed`);
      }
    }
  }

  /** Nothing goes that VMs of a forgotten operation may read, from when its site knows of it until somebody declares it over. */
  async #checkHeld(protection: Protection): Promise<void> {
    for (const { gateway, operationId, folder } of protection.folders()) {
      const { attached, detached, promoted, body } = folder;
      const { site } = gateway.own;
      const vpg = await protection.vpgAt(site);
      const known = vpg?.forgotten.some((each) => each.operationId === operationId && each.failed === undefined);
      if (known !== true || !attached || detached || promoted || body.vpgId !== protection.vpgId) {
        this.#held.delete(operationId);
        continue;
      }
      const journal = await BucketJournal.open(site.objects, body.vpgId);
      if (journal.checkpoints().some(({ id }) => id === body.checkpointId)) {
        this.#held.set(operationId, body.checkpointId);
      } else if (this.#held.get(operationId) === body.checkpointId) {
        throw new Violation(
          "pins",
          `checkpoint ${body.checkpointId} went, which the forgotten ${operationId} may read`,
        );
      }
    }
  }

  /** Invariant 2 and R17: what gateways were told. */
  async #heard(): Promise<void> {
    for (const { method, path, gateway, site, beganAt } of this.#world.answered.splice(0)) {
      if (method === "PUT" && path.startsWith("/gateway/v1/batches/")) this.#acknowledged.add(site.name, path);
      if (method !== "POST" || !path.endsWith("/sessions")) continue;
      for (const protection of this.#world.protections) {
        const asked = protection.gateways.find(({ name, remote }) => name === gateway && remote.site === site);
        if (asked !== undefined) await checkGrant(protection, asked, beganAt);
      }
    }
  }

  /** Never changed once it is there. */
  async #claim({ name, objects }: SimSite, vpgId: Id, session: number): Promise<SessionClaim> {
    const key = `${name} ${vpgId} ${session}`;
    const known = this.#claims.get(key);
    if (known !== undefined) return known;
    const claim = decodeSessionClaim(await objects.get(sessionClaimKey(vpgId, session)));
    this.#claims.set(key, claim);
    return claim;
  }

  #of({ name }: SimSite, vpgId: Id): Known {
    const key = `${name} ${vpgId}`;
    const known = this.#known.get(key) ?? {
      ...{ term: 0, session: 0, pressure: 0, listed: new Map(), letGo: new Set<string>(), sealed: new Map() },
    };
    this.#known.set(key, known);
    return known;
  }
}
