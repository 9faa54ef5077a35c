import { z } from "zod";
import { pageOf } from "#core/blocks/geometry.ts";
import type { Id } from "#core/ids.ts";
import type { BatchHeader } from "#core/journal/batch.ts";
import { componentsMax } from "#core/journal/limits.ts";
import { tableFields } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { items } from "./items.ts";
import { positionSchema } from "./term.ts";

const hex = z.string().regex(/^[0-9a-f]{64}$/);

/** In order of sequence; `volume` is 0 for close and final. Holds, which are many, and resizes are left out. */
const eventsSchema = z.array(
  z.object({ kind: z.enum(["sync-begin", "sync-end", "close", "final"]), sequence: z.int(), volume: z.int() }),
);

/** Which batch an item that stands under a sequence is of: it counts only inside the valid run. */
export const placeSchema = z.object({ batch: z.int().min(0) });

/** Where a barrier names each gateway's session to have been held. */
export const vectorSchema = z.array(positionSchema).max(componentsMax);

/** The item of a batch's events, under the place of the first: few, so that R12 can be applied without reading batches. */
export const eventsRowSchema = placeSchema.extend({ session: z.int(), events: eventsSchema });

/** `time` by the source's clock, ms since the epoch; the marker's own tag, empty when it has none; a barrier's vector. */
export const markerSchema = z.object({
  sequence: z.int().min(1),
  time: z.int(),
  tag: z.string(),
  vector: vectorSchema.exactOptional(),
});

/** What is known of a checkpoint beside its marker, and changes. */
export const checkpointStateSchema = z.object({
  validThrough: z.int(),
  /** What operations noted on it, like that it was tested. */
  notes: z.array(z.object({ operationId: z.string(), tag: z.string() })),
  /** Who needs it: operations and views, each once; a lease is a pin with an end (pins.ts). */
  pins: z.array(z.string()),
  /** Thinning has marked it: a manifest that doesn't list it any more is there, or will be. It can't be pinned. */
  leaving: z.literal(true).exactOptional(),
});
export type CheckpointState = z.infer<typeof checkpointStateSchema>;

/** The index of one batch: what a listing or a view needs to know without reading the object. */
export const batchRowSchema = z.object({
  batch: z.int().min(0),
  term: z.int().min(1),
  firstSequence: z.int().min(1),
  lastSequence: z.int().min(1),
  bytes: z.int().min(1),
  sha256: hex,
  previous: hex,
  /** [volume, [pages it touches, ascending]] */
  touched: z.array(z.tuple([z.int(), z.array(z.int())])),
  /** The marker or barrier the batch ends with. */
  marker: markerSchema.nullable(),
  /** The batch ends with a hold. */
  hold: z.literal(true).exactOptional(),
  events: eventsSchema,
});
export type BatchRow = z.infer<typeof batchRowSchema>;

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** `hash` is the object's own, its last 32 bytes. */
export function rowOf(header: BatchHeader, hash: Uint8Array): BatchRow {
  let marker: BatchRow["marker"] = null;
  const events: BatchRow["events"] = [];
  for (const event of header.events) {
    const { sequence } = event;
    if (event.kind === "marker") marker = { sequence, time: event.time, tag: event.tag };
    else if (event.kind === "barrier") {
      const vector = event.vector.map((position) => ({ ...position }));
      marker = { sequence, time: event.time, tag: event.tag, vector };
    } else if (event.kind === "sync-begin" || event.kind === "sync-end")
      events.push({ kind: event.kind, sequence, volume: event.volume });
    else if (event.kind !== "resize" && event.kind !== "hold") events.push({ kind: event.kind, sequence, volume: 0 });
  }
  return {
    batch: header.batch,
    term: header.term,
    firstSequence: header.firstSequence,
    lastSequence: header.lastSequence,
    bytes: header.objectLength,
    sha256: toHex(hash),
    previous: toHex(header.previousHash),
    touched: touchedPages(header),
    marker,
    ...(header.events.some((event) => event.kind === "hold") ? { hold: true } : {}),
    events,
  };
}

function touchedPages(header: BatchHeader): BatchRow["touched"] {
  const { count, volume, offset, length } = header.extents;
  const pages = new Map<number, Set<number>>();
  for (let index = 0; index < count; index += 1) {
    const number = volume[index] ?? 0;
    let touched = pages.get(number);
    if (touched === undefined) {
      touched = new Set();
      pages.set(number, touched);
    }
    const start = offset[index] ?? 0;
    const last = pageOf(start + (length[index] ?? 0) - 1);
    for (let page = pageOf(start); page <= last; page += 1) touched.add(page);
  }
  return [...pages]
    .sort(([left], [right]) => left - right)
    .map(([number, set]) => [number, [...set].sort((left, right) => left - right)]);
}

/** Writes and zeros of the batch, coalesced ones included: its sequences without those of its events. */
export function writesIn({ firstSequence, lastSequence, events, marker, hold }: BatchRow): number {
  const ends = (marker === null ? 0 : 1) + (hold === true ? 1 : 0);
  return lastSequence - firstSequence + 1 - events.length - ends;
}

/**
 * Everything the table says of a batch: its row, which is its checkpoint too when it ends with one, and of the few that have
 * events an item of those, all or nothing. `validThrough` is the marker's instant by the site's clock.
 */
export function rowActions(
  vpgId: Id,
  session: number,
  row: BatchRow,
  validThrough: number,
  notes: CheckpointState["notes"] = [],
): TableAction[] {
  const checkpoint: CheckpointState | undefined = row.marker === null ? undefined : { validThrough, notes, pins: [] };
  const fields = tableFields({ ...row, session, ...(checkpoint === undefined ? {} : { checkpoint }) });
  const actions: TableAction[] = [{ put: items.batch(vpgId, session, row.lastSequence), fields, if: { absent: true } }];
  const [first] = row.events;
  if (first !== undefined) {
    const fields = { batch: row.batch, session, events: row.events };
    actions.push({ put: items.event(vpgId, session, first.sequence), fields, if: { absent: true } });
  }
  return actions;
}
