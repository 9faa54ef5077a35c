import { Diverged, type FarshoreError, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { type Digest, readDigest } from "#core/journal/digest.ts";
import {
  batchKey,
  digestKey,
  layerPartKey,
  manifestKey,
  manifestPrefix,
  parseManifestKey,
  parseSessionClaimKey,
  sessionClaimKey,
  sessionClaimPrefix,
} from "#core/journal/keys.ts";
import { type Manifest, readManifest } from "#core/journal/manifest.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";
import { type StoredObject, storedClaim, unbrokenRun } from "#core/journal/session-walk.ts";
import { wholePart } from "#core/journal/verify-layers.ts";
import { type SessionStand, sessionStart, standAt, verifySession } from "#core/journal/verify-session.ts";
import { items } from "#core/protection/items.ts";
import { StoredBatches } from "#core/recovery/stored-batches.ts";
import type { Site } from "#core/site.ts";
import type { Allowance } from "./allowance.ts";
import { type KnownRun, knownRun } from "./known-run.ts";
import { type Cursor, damageIn, noted, type Round, type ScrubRecord } from "./record.ts";

type CursorOf<Area extends Cursor["area"]> = Extract<Cursor, { readonly area: Area }>;
type StoredStand = NonNullable<CursorOf<"sessions">["stand"]>;

/** By which manifest and digest a run reads. */
export interface Standing {
  readonly manifest: Manifest | undefined;
  readonly digest: Digest | undefined;
}

/**
 * Goes on with a round from its cursor: session objects with their batches, packs and seals, then the parts of layers, then manifests
 * and the digest. Whatever it has read is in `record` and nothing else is: who stores that can be killed at any time.
 */
export class JournalWalk {
  record: ScrubRecord;
  readonly #site: Site;
  readonly #vpgId: Id;
  readonly #standing: Standing;
  readonly #allowance: Allowance;
  readonly #stored: StoredBatches;
  readonly #seen = new Set<string>();

  constructor(site: Site, vpgId: Id, standing: Standing, record: ScrubRecord, allowance: Allowance) {
    this.#site = site;
    this.#vpgId = vpgId;
    this.#standing = standing;
    this.#allowance = allowance;
    this.#stored = new StoredBatches(site.objects, vpgId);
    this.record = record;
  }

  /** Until the allowance is used up or the round has come to its end. */
  async run(): Promise<void> {
    while (this.record.round !== null && this.#allowance.left) {
      const { cursor } = this.record.round;
      if (cursor.area === "sessions") await this.#sessions(cursor);
      else if (cursor.area === "layers") await this.#layers(cursor);
      else await this.#manifests(cursor);
    }
  }

  /** The object was read, or was looked for where it must stand. */
  saw(key: string): boolean {
    return this.#seen.has(key);
  }

  async #sessions({ session, stand }: CursorOf<"sessions">): Promise<void> {
    const { objects, table } = this.#site;
    if (stand !== null) return this.#session(sessionClaimKey(this.#vpgId, session), stand);
    const options = session === 0 ? { limit: 1 } : { after: sessionClaimKey(this.#vpgId, session), limit: 1 };
    const { pk, sk } = items.session(this.#vpgId, session + 1);
    // What the table knows is asked first: a session that is opened in between is no lost one.
    const known = (await table.query(pk, { from: sk, limit: 1 })).items[0];
    const [next] = await objects.list(sessionClaimPrefix(this.#vpgId), options);
    const listed = next && parseSessionClaimKey(next.key)?.session;
    const following = Math.min(Number(known?.sk ?? Number.POSITIVE_INFINITY), listed ?? Number.POSITIVE_INFINITY);
    if (!Number.isFinite(following)) return this.#go({ area: "layers", layerId: "", part: -1 });
    await this.#session(sessionClaimKey(this.#vpgId, following), undefined);
  }

  async #session(key: string, from: StoredStand | undefined): Promise<void> {
    const session = parseSessionClaimKey(key)?.session ?? 0;
    if (from === undefined && !this.#allowance.take(0)) return;
    const claim = await this.#checked(key, async () => {
      const bytes = await this.#site.objects.get(key);
      if (from === undefined) this.#count(bytes.length);
      return storedClaim(key, bytes);
    });
    // Without its claim nothing says what its batches may hold.
    if (claim === undefined) return this.#go({ area: "sessions", session, stand: null });
    const start = from === undefined ? sessionStart(claim) : standOf(claim, from);
    const packs = this.#standing.digest?.packsOf(session) ?? [];
    const inside = packs.find(({ from: first, to }) => first < start.batch && start.batch < to);
    const begin = inside === undefined ? start : { ...standAt(inside.from, claim), volumes: start.volumes };
    // Before the listing: what is stored in between is no loss.
    const known = await knownRun(this.#site, this.#vpgId, session);
    const end = await this.#run(claim, begin, known);
    if (end === undefined) return;
    const lost = known === undefined ? undefined : this.#lost(end, known);
    if (lost === undefined) return this.#go({ area: "sessions", session, stand: null });
    const gone = batchKey({ ...claim, batch: lost });
    this.#allowance.take(0);
    this.#note(
      gone,
      new NotFound(`${gone} is gone: it was acknowledged, and nothing stands in its place`, { key: gone }),
    );
    const after = standAt(lost + 1, claim);
    this.#go({ area: "sessions", session, stand: storedStand(claim, { ...after, volumes: end.stand.volumes }) });
  }

  /** Undefined when the allowance was used up before the end of the session's run. */
  async #run(
    claim: SessionClaim,
    begin: SessionStand,
    known: KnownRun | undefined,
  ): Promise<{ readonly stand: SessionStand; readonly ended: boolean } | undefined> {
    const { session } = claim;
    const packs = this.#standing.digest?.packsOf(session) ?? [];
    const cut = { yes: false };
    const places = within(unbrokenRun(this.#site.objects, claim, packs, begin.batch), this.#allowance, cut);
    let stand = begin;
    let ended = false;
    this.#go({ area: "sessions", session, stand: storedStand(claim, stand) });
    for await (const object of verifySession(this.#stored, claim, places, begin, this.#damageOf)) {
      const { key, kind, problem, damage } = object;
      // What the table calls broken never was journal.
      const broke = kind === "broken" && (known?.batches ?? 0) > object.stand.batch;
      this.#note(key, broke ? new Diverged(`${key} ${problem}`, { key }) : damage[0]);
      this.#count(object.bytes);
      ({ stand } = object);
      ended ||= kind === "seal" || kind === "broken";
      this.#go({ area: "sessions", session, stand: storedStand(claim, stand) });
    }
    return cut.yes ? undefined : { stand, ended };
  }

  /** The number of an object that the table knows and the bucket doesn't have. */
  #lost(
    { stand, ended }: { readonly stand: SessionStand; readonly ended: boolean },
    { batches, sealed }: KnownRun,
  ): number | undefined {
    if (ended) return undefined;
    return stand.batch < batches || (sealed && stand.batch === batches) ? stand.batch : undefined;
  }

  async #layers({ layerId, part }: CursorOf<"layers">): Promise<void> {
    const layers = [...(this.#standing.manifest?.layers ?? [])].sort((one, other) =>
      one.layerId < other.layerId ? -1 : 1,
    );
    for (const layer of layers) {
      if (layer.layerId < layerId) continue;
      for (const [index, { bytes }] of layer.parts.entries()) {
        if (layer.layerId === layerId && index <= part) continue;
        if (!this.#allowance.take(bytes)) return;
        const place = { vpgId: this.#vpgId, layerId: layer.layerId, part: index };
        await this.#checked(layerPartKey(place), () => wholePart(this.#site.objects, place, bytes));
        this.#count(bytes);
        this.#go({ area: "layers", layerId: layer.layerId, part: index });
      }
    }
    this.#go({ area: "manifests", manifest: 0 });
  }

  async #manifests({ manifest: before }: CursorOf<"manifests">): Promise<void> {
    const { objects } = this.#site;
    const { manifest: newest, digest } = this.#standing;
    const options = before === 0 ? {} : { after: manifestKey(this.#vpgId, before) };
    const listed = await objects.list(manifestPrefix(this.#vpgId), options);
    for (const { key, size } of listed) {
      const number = parseManifestKey(key)?.manifest;
      if (number === undefined) continue;
      if (!this.#allowance.take(size)) return;
      await this.#checked(key, async () => {
        try {
          await readManifest(objects, this.#vpgId, number);
        } catch (error) {
          // Collected since it was listed.
          if (!(error instanceof NotFound) || number >= (newest?.manifest ?? 0)) throw error;
        }
      });
      this.#count(size);
      this.#go({ area: "manifests", manifest: number });
    }
    if (listed.length > 0) return;
    const ref = newest?.digest;
    if (ref !== undefined && digest !== undefined) {
      if (!this.#allowance.take(ref.bytes)) return;
      await this.#checked(digestKey(this.#vpgId, ref.digestId), () => readDigest(objects, this.#vpgId, ref));
      this.#count(ref.bytes);
    }
    this.#end();
  }

  #end(): void {
    const { round } = this.record;
    if (round === null) return;
    const { startedAt, objects, bytes } = round;
    this.record = { ...this.record, round: null, last: { startedAt, endedAt: this.#site.clock.now(), objects, bytes } };
  }

  /** What `read` answers; undefined when the object is damaged, which is noted, as it is when it is good again. */
  async #checked<T>(key: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      const found = await read();
      this.#note(key, undefined);
      return found;
    } catch (error) {
      const damage = this.#damageOf(key, error);
      if (damage === undefined) throw error;
      this.#note(key, damage);
      return undefined;
    }
  }

  readonly #damageOf = (key: string, error: unknown): FarshoreError | undefined => {
    const { record, damage } = damageIn(this.record, key, error);
    this.record = record;
    return damage;
  };

  #note(key: string, error: FarshoreError | undefined): void {
    this.#seen.add(key);
    this.record = noted(this.record, key, error, this.#site.clock.now());
  }

  #count(bytes: number): void {
    this.#change(({ objects, bytes: before }) => ({ objects: objects + 1, bytes: before + bytes }));
  }

  #go(cursor: Cursor): void {
    this.#change(() => ({ cursor }));
  }

  #change(by: (round: Round) => Partial<Round>): void {
    const { round } = this.record;
    if (round !== null) this.record = { ...this.record, round: { ...round, ...by(round) } };
  }
}

/** The places that the allowance lets be read; `cut` says that there were more. */
async function* within(
  places: AsyncIterable<StoredObject>,
  allowance: Allowance,
  cut: { yes: boolean },
): AsyncGenerator<StoredObject> {
  for await (const place of places) {
    if (!allowance.take(place.size)) {
      cut.yes = true;
      return;
    }
    yield place;
  }
}

function standOf(claim: SessionClaim, { batch, sequence, hash, closed, sizes }: StoredStand): SessionStand {
  const volumes = new Map(sessionStart(claim).volumes);
  for (const [volume, sizeBytes] of sizes) {
    const bounds = volumes.get(volume);
    if (bounds !== undefined) volumes.set(volume, { ...bounds, sizeBytes });
  }
  return { batch, chain: { sequence, hash: hash === null ? undefined : Buffer.from(hash, "hex"), closed }, volumes };
}

function storedStand(claim: SessionClaim, { batch, chain, volumes }: SessionStand): StoredStand {
  const { sequence, hash, closed } = chain;
  const opened = sessionStart(claim).volumes;
  const sizes = [...volumes].flatMap(([volume, { sizeBytes }]): [number, number][] =>
    sizeBytes === opened.get(volume)?.sizeBytes ? [] : [[volume, sizeBytes]],
  );
  return { batch, sequence, hash: hash === undefined ? null : Buffer.from(hash).toString("hex"), closed, sizes };
}
