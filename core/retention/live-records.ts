import { sectorsPerChunk } from "#core/blocks/geometry.ts";
import { LayerCursor, sectionsOf } from "#core/compaction/merge-layers.ts";
import type { SourceTable } from "#core/compaction/section-builder.ts";
import { extentKinds } from "#core/journal/batch.ts";
import type { ManifestLayer } from "#core/journal/manifest.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Objects } from "#core/ports.ts";

/** A write or zero of the journal, with what of it is seen at some instant. */
export interface LiveRecord {
  /** Number of its batch or pack in the table. */
  readonly source: number;
  readonly sequenceDelta: number;
  readonly sectors: number;
  readonly isWrite: boolean;
  /** First sector of it that is seen, and behind the last, counted from its start; equal when none is. */
  from: number;
  to: number;
}

interface OpenRecord extends LiveRecord {
  readonly session: number;
  readonly sequence: number;
  readonly sector: number;
  /** Which interval between instants it stands in. */
  readonly interval: number;
}

export interface LiveOptions {
  readonly objects: Pick<Objects, "get">;
  readonly vpgId: string;
  readonly layers: readonly ManifestLayer[];
  /** Positions, ascending, at which a volume's image may be asked for. The last one is where the pass ends: nothing behind it is told. */
  readonly instantsOf: (volume: number) => readonly Position[];
}

/**
 * Goes once through layers by place and tells every write and zero at or before its volume's last instant, and what of it is seen: a
 * sector is seen at an instant in the newest record at or before it, so between two instants only the last one counts. Holds what
 * reaches one chunk at a time.
 */
export async function* liveRecords(options: LiveOptions, table: SourceTable): AsyncGenerator<LiveRecord> {
  const { objects, vpgId, layers, instantsOf } = options;
  const cursors: LayerCursor[] = [];
  for (const layer of layers) {
    const cursor = new LayerCursor(sectionsOf(objects, vpgId, layer), table, () => false);
    if (await cursor.load()) cursors.push(cursor);
  }
  const painted = new Int32Array(sectorsPerChunk);
  let open: OpenRecord[] = [];
  let at: { readonly volume: number; readonly chunk: number } | undefined = firstOf(cursors);
  while (at !== undefined) {
    const { volume, chunk } = at;
    const instants = instantsOf(volume);
    for (let index = 0; index < cursors.length; index += 1) {
      const cursor = cursors[index];
      while (cursor?.place?.volume === volume && cursor.place.chunk === chunk) {
        const record = recordOf(cursor.take(), table, instants);
        if (record !== undefined) open.push(record);
        if (cursor.isAtEnd && !(await cursor.load())) {
          cursors.splice(index, 1);
          index -= 1;
          break;
        }
      }
    }
    see(open, chunk * sectorsPerChunk, painted);
    const end = (chunk + 1) * sectorsPerChunk;
    for (const record of open) if (record.sector + record.sectors <= end) yield record;
    open = open.filter((record) => record.sector + record.sectors > end);
    at = open.length > 0 ? { volume, chunk: chunk + 1 } : firstOf(cursors);
  }
}

function firstOf(cursors: readonly LayerCursor[]): LayerCursor["place"] {
  return cursors.reduce<LayerCursor | undefined>(
    (first, cursor) => (first === undefined || cursor.isBefore(first) ? cursor : first),
    undefined,
  )?.place;
}

function recordOf(
  { extents, index, source }: ReturnType<LayerCursor["take"]>,
  table: SourceTable,
  instants: readonly Position[],
): OpenRecord | undefined {
  const { session, firstSequence } = table.get(source);
  const sequenceDelta = extents.sequenceDelta[index] ?? 0;
  const sequence = firstSequence + sequenceDelta;
  const interval = intervalOf(instants, { session, sequence });
  if (interval === instants.length) return undefined;
  const isWrite = extents.kind[index] === extentKinds.write;
  const [sector, sectors] = [extents.sector[index] ?? 0, extents.sectors[index] ?? 0];
  return { source, sequenceDelta, sectors, isWrite, from: 0, to: 0, session, sequence, sector, interval };
}

/** How many instants are before the position: the first one at or after it is the first that sees it. */
export function intervalOf(instants: readonly Position[], position: Position): number {
  let low = 0;
  let high = instants.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const instant = instants[middle];
    if (instant !== undefined && comparePositions(instant, position) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Adds what of each record is seen in the chunk, from the newest on. */
function see(records: OpenRecord[], chunkStart: number, painted: Int32Array): void {
  painted.fill(-1);
  records.sort((left, right) => right.session - left.session || right.sequence - left.sequence);
  for (const record of records) {
    const start = record.sector - chunkStart;
    const end = Math.min(sectorsPerChunk, start + record.sectors);
    let [first, last] = [-1, -1];
    for (let sector = Math.max(0, start); sector < end; sector += 1) {
      if (painted[sector] === record.interval) continue;
      painted[sector] = record.interval;
      if (first < 0) first = sector;
      last = sector;
    }
    if (first < 0) continue;
    record.from = record.to === 0 ? first - start : Math.min(record.from, first - start);
    record.to = Math.max(record.to, last + 1 - start);
  }
}
