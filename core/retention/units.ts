import type { SourceTable } from "#core/compaction/section-builder.ts";
import type { Digest, Pack } from "#core/journal/digest.ts";
import type { LayerSource } from "#core/journal/layer.ts";
import type { SessionClaim } from "#core/journal/session-claim.ts";
import { unbrokenRun } from "#core/journal/session-walk.ts";
import type { Objects } from "#core/ports.ts";
import { retentionLimits as limits } from "./limits.ts";
import type { LiveRecord } from "./live-records.ts";

/** A batch or pack of valid journal, with what of it is seen. */
export interface Unit {
  readonly term: number;
  readonly session: number;
  readonly batch: number;
  /** Behind the last batch it stands for. */
  readonly to: number;
  readonly size: number;
  readonly pack?: string;
  readonly packed?: Pack;
  /** Unknown for a batch without writes. */
  readonly lastSequence: number | undefined;
  readonly liveBytes: number;
  readonly totalBytes: number;
}

export const nameOf = ({ session, batch, pack }: Pick<LayerSource, "session" | "batch" | "pack">): string =>
  `${session}/${pack ?? batch}`;

interface Seen {
  readonly source: LayerSource;
  liveBytes: number;
  totalBytes: number;
}

/** What of each batch and pack is seen, added up record by record: some 200 bytes for each. */
export class SeenBytes {
  readonly #table: SourceTable;
  readonly #seen: Seen[] = [];
  #names: ReadonlyMap<string, Seen> | undefined;

  constructor(table: SourceTable) {
    this.#table = table;
  }

  add({ source, isWrite, sectors, from, to }: LiveRecord): void {
    this.#seen[source] ??= { source: this.#table.get(source), liveBytes: 0, totalBytes: 0 };
    const seen = this.#seen[source];
    if (!isWrite || seen === undefined) return;
    seen.liveBytes += (to - from) * 512;
    seen.totalBytes += sectors * 512;
  }

  of(place: Pick<LayerSource, "session" | "batch" | "pack">): Seen | undefined {
    this.#names ??= new Map(this.#seen.flatMap((seen) => (seen === undefined ? [] : [[nameOf(seen.source), seen]])));
    return this.#names.get(nameOf(place));
  }
}

/** The units of a session before batch `end`, by the bucket's names and the digest. */
export async function unitsOf(
  objects: Pick<Objects, "list">,
  claim: SessionClaim,
  digest: Digest | undefined,
  end: number,
  seen: SeenBytes,
): Promise<readonly Unit[]> {
  const units: Unit[] = [];
  for await (const place of unbrokenRun(objects, claim, digest?.packsOf(claim.session) ?? [])) {
    const to = place.packed?.to ?? place.batch + 1;
    if (to > end) break;
    const known = seen.of(place);
    const lastSequence = place.packed?.lastSequence ?? known?.source.lastSequence;
    units.push({ ...place, to, lastSequence, liveBytes: known?.liveBytes ?? 0, totalBytes: known?.totalBytes ?? 0 });
  }
  return units;
}

/**
 * Runs of neighbours that are worth being put together, or made anew without what nobody sees. `cuts` are the sequences behind which
 * a pack must end, ascending. What is large and mostly seen stays as it is, so that a first copy is never copied again.
 */
export function segmentsOf(units: readonly Unit[], cuts: readonly number[]): readonly (readonly Unit[])[] {
  const segments: Unit[][] = [];
  let run: Unit[] = [];
  let interval = -1;
  const end = (): void => {
    if (isWorthIt(run)) segments.push(run);
    run = [];
  };
  for (const unit of units) {
    const { lastSequence } = unit;
    const own = lastSequence === undefined ? interval : cuts.filter((cut) => cut < lastSequence).length;
    if (own !== interval) end();
    interval = own;
    if (isPoor(unit)) run.push(unit);
    else end();
  }
  end();
  return segments;
}

function isPoor({ size, liveBytes, totalBytes }: Unit): boolean {
  return size < limits.smallBytes || liveBytes < totalBytes * limits.liveLeast;
}

function isWorthIt(run: readonly Unit[]): boolean {
  const total = run.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
  const live = run.reduce((sum, { liveBytes }) => sum + liveBytes, 0);
  return run.length >= limits.unitsMin || live < total * limits.liveLeast;
}
