/** A site's delta-sync in memory: takes hashes of pages, compares them with a journal's image and answers with want-lists. */
import { SystemClock } from "#adapters/embedded/clock.ts";
import { InvalidInput, NotFound, Transient } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import { bytesEqual, sha256 } from "#core/journal/hash.ts";
import { decodePageHashes, encodePageWants, type PageHashes, type PageWants } from "#core/sync/page-object.ts";
import type { AwaitedPage, PlannedPage } from "../../gateway/sync/planned-page.ts";
import type { PlanSite } from "../../gateway/sync/planner.ts";
import type { MemoryJournal } from "./memory-journal.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface PlanFaults {
  /** Shares of uploads that fail before, and after they were taken. */
  fails: number;
  losesReply: number;
  /** Shares of want-lists that are gone, or that are another's. */
  losesWants: number;
  wrongWants: number;
}

export class MemoryPlanSite implements PlanSite {
  readonly faults: PlanFaults = { fails: 0, losesReply: 0, losesWants: 0, wrongWants: 0 };
  /** What was taken, one after the other. */
  readonly taken = new Map<string, PageHashes>();
  /** Replaces what a gateway sent, as a gateway that didn't read would have sent it. */
  forge: (page: PageHashes) => PageHashes = (page) => page;
  readonly #journal: MemoryJournal;
  readonly #random: SeededRandom;
  readonly #objects = new Map<string, Uint8Array>();

  constructor(journal: MemoryJournal, random: SeededRandom) {
    this.#journal = journal;
    this.#random = random;
  }

  newRequestId(): Id {
    return newId(new SystemClock(), this.#random);
  }

  async putPageHashes({ place, object }: PlannedPage): Promise<void> {
    await this.#turns();
    if (this.#random.chance(this.faults.fails)) throw new Transient("injected: before");
    const name = nameOf(place);
    const before = this.#objects.get(name);
    if (before !== undefined && !bytesEqual(before, object)) throw new InvalidInput("hashed twice, with two outcomes");
    this.#objects.set(name, object);
    this.taken.set(name, decodePageHashes(object));
    if (this.#random.chance(this.faults.losesReply)) throw new Transient("injected: after");
  }

  async pageWants({ place }: AwaitedPage): Promise<Uint8Array> {
    await this.#turns();
    const name = nameOf(place);
    const [object, taken] = [this.#objects.get(name), this.taken.get(name)];
    if (object === undefined || taken === undefined || this.#random.chance(this.faults.losesWants)) {
      throw new NotFound("no want-list");
    }
    const { hashes, chunks, upTo, sizeBytes: _, ...where } = this.forge(taken);
    const held = this.#journal.hashes(where.volume, upTo.session === 0 ? 0 : upTo.sequence, undefined);
    const differs = (chunk: number, index: number): boolean =>
      !bytesEqual(hashes.subarray(index * 32, index * 32 + 32), held.subarray(chunk * 32, chunk * 32 + 32));
    const hashesSha256 = Buffer.from(sha256(object)).toString("hex");
    const wants: PageWants = { ...where, hashesSha256, chunks: chunks.filter(differs) };
    if (!this.#random.chance(this.faults.wrongWants)) return encodePageWants(wants);
    return this.#random.chance(0.2)
      ? new Uint8Array(40)
      : encodePageWants({ ...anothers(wants, this.#random), chunks: [] });
  }

  async #turns(): Promise<void> {
    for (let turn = this.#random.below(4); turn >= 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

const nameOf = ({ operationId, session, volume, page }: AwaitedPage["place"]): string =>
  `${operationId}-${session}-${volume}-${page}`;

/** The list as one of something else, which wants nothing: believing it would lose what differs. */
function anothers(wants: PageWants, random: SeededRandom): PageWants {
  switch (random.below(5)) {
    case 0:
      return { ...wants, session: wants.session + 1 };
    case 1:
      return { ...wants, term: wants.term + 1 };
    case 2:
      return { ...wants, volume: wants.volume + 1 };
    case 3:
      return { ...wants, page: wants.page + 1 };
    default:
      return { ...wants, hashesSha256: "0".repeat(64) };
  }
}
