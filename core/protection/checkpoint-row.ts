import { z } from "zod";
import type { CheckpointView } from "#core/api/site-api.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import { checkStored } from "#core/json.ts";
import type { TableItem } from "#core/ports.ts";
import { placeSchema, vectorSchema } from "./batch-row.ts";

/** Of a marker or a barrier. */
export const checkpointRowSchema = placeSchema.extend({
  session: z.int().min(1),
  sequence: z.int().min(1),
  /** Source clock, ms since the epoch. */
  time: z.int(),
  /** The marker's own tag; empty when it has none. */
  tag: z.string(),
  /** A barrier's: where each gateway's session was held. */
  vector: vectorSchema.exactOptional(),
  validThrough: z.int(),
  /** What operations noted on it, like that it was tested. */
  notes: z.array(z.object({ operationId: z.string(), tag: z.string() })),
  /** Who needs it: operations and views, each once. */
  pins: z.array(z.string()),
});
export type CheckpointRow = z.infer<typeof checkpointRowSchema>;

export const rowOfItem = (item: TableItem): CheckpointRow =>
  checkStored(checkpointRowSchema, item.fields, "a checkpoint's item");

export const tagsOf = (row: Pick<CheckpointRow, "tag" | "notes">): string[] => [
  ...(row.tag === "" ? [] : [row.tag]),
  ...row.notes.map((note) => note.tag),
];

/** A checkpoint as listings and operations use it. */
export interface ListedCheckpoint extends CheckpointView {
  readonly position: Position;
  readonly term: number;
  /** Of a VPG with several source gateways: where each one's session was held. */
  readonly vector: readonly Position[] | null;
}

export function viewOfRow(row: CheckpointRow, term: number): ListedCheckpoint {
  const position = { session: row.session, sequence: row.sequence };
  return {
    id: formatPosition(position),
    position,
    term,
    time: row.time,
    validThrough: row.validThrough,
    tags: tagsOf(row),
    pins: row.pins.length,
    vector: row.vector ?? null,
  };
}
