import { z } from "zod";
import type { CheckpointView } from "#core/api/site-api.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import type { TableItem } from "#core/ports.ts";
import { type CheckpointState, checkpointStateSchema, markerSchema, placeSchema } from "./batch-row.ts";
import { livePins } from "./pins.ts";

/** A batch's item as far as a checkpoint is concerned; most of it is the index, which is passed over here. */
const itemSchema = placeSchema.extend({
  session: z.int().min(1),
  marker: markerSchema.nullable(),
  checkpoint: checkpointStateSchema.exactOptional(),
});

/** A marker or a barrier, with what is known of it. */
export type CheckpointRow = z.infer<typeof markerSchema> &
  CheckpointState & { readonly session: number; readonly batch: number };

/** The checkpoint that a batch ends with, if it ends with one. */
export function rowOfItem(item: TableItem): CheckpointRow | undefined {
  const { session, batch, marker, checkpoint } = checkStored(itemSchema, item.fields, "a batch's item");
  return marker === null || checkpoint === undefined ? undefined : { ...marker, ...checkpoint, session, batch };
}

export const tagsOf = (row: Pick<CheckpointRow, "tag" | "notes">): string[] => [
  ...(row.tag === "" ? [] : [row.tag]),
  ...row.notes.map((note) => note.tag),
];

/** A checkpoint as listings and operations use it. */
export interface ListedCheckpoint extends CheckpointView {
  readonly position: Position;
  readonly term: number;
  /** Who needs it now. */
  readonly pinOwners: readonly string[];
  readonly leaving: boolean;
  /** Of a VPG with several source gateways: where each one's session was held. */
  readonly vector: readonly Position[] | null;
}

export function viewOfRow(row: CheckpointRow, term: number, now: number): ListedCheckpoint {
  const pinOwners = livePins(row.pins, now);
  const position = { session: row.session, sequence: row.sequence };
  return {
    id: formatPosition(position),
    position,
    term,
    time: row.time,
    validThrough: row.validThrough,
    tags: tagsOf(row),
    pins: pinOwners.length,
    pinOwners,
    leaving: row.leaving === true,
    vector: row.vector ?? null,
  };
}
