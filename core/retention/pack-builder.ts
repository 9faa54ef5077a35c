import { type BatchEvent, type BatchHeader, endsSession, extentKinds } from "#core/journal/batch.ts";
import { encodeBatch } from "#core/journal/encode.ts";
import { decodeFrame } from "#core/journal/frame.ts";
import { payloadBytesMax, recordsMax, u32Max } from "#core/journal/limits.ts";
import { PackingRoom, packExtents } from "#core/journal/pack.ts";
import { retentionLimits as limits } from "./limits.ts";
import type { Unit } from "./units.ts";

/** A unit as it was read. */
export interface ReadUnit {
  readonly unit: Unit;
  readonly header: BatchHeader;
  readonly object: Uint8Array;
  /** What the next batch is chained to. */
  readonly lastHash: string;
  /** How many of its markers are checkpoints by R12, listed or not. */
  readonly checkpoints: number;
}

/** Of any volume: records of one are whole sectors of it, and which those are a batch doesn't say. */
const sectorBytesMost = 4096;

/** Part of a record that is seen: sectors from its start. */
export interface SeenPart {
  readonly from: number;
  readonly to: number;
}

/** What one pack is made of. */
export interface BuiltPack {
  readonly bytes: Uint8Array;
  readonly units: readonly ReadUnit[];
}

interface Row {
  readonly kind: number;
  readonly volume: number;
  readonly sequence: number;
  readonly offset: number;
  readonly length: number;
  readonly payloadOffset: number;
}

/** Events that are always a batch's last record: inside a pack they say nothing any more, except what ends a session. */
const lastOnly: ReadonlySet<BatchEvent["kind"]> = new Set(["marker", "hold", "barrier"]);

/** Puts units of one session together, in their order, until no more fit into one object of a batch's form. */
export class PackBuilder {
  readonly #room = new PackingRoom();
  readonly #payload = Buffer.allocUnsafeSlow(payloadBytesMax);
  /** Sequences behind which a pack must end. */
  readonly #cuts: ReadonlySet<number>;
  /** What is seen of a unit's record, by its sequence minus the unit's first; undefined when nothing is. */
  readonly #seenOf: (unit: Unit, sequenceDelta: number) => SeenPart | undefined;
  #units: ReadUnit[] = [];
  #rows: Row[] = [];
  #events: BatchEvent[] = [];
  #filled = 0;
  /** The last record when nobody sees it: a sector of its volume stands for it if the pack ends there. */
  #spare: (() => Row) | undefined;

  constructor(cuts: ReadonlySet<number>, seenOf: (unit: Unit, sequenceDelta: number) => SeenPart | undefined) {
    this.#cuts = cuts;
    this.#seenOf = seenOf;
  }

  /** Takes the next unit; returns the pack that was whole before it. */
  add(read: ReadUnit): BuiltPack | undefined {
    const built = this.#takes(read) ? undefined : this.flush();
    this.#take(read);
    return built;
  }

  /** What is left, as a pack; undefined when it would only be a unit again as it is. */
  flush(): BuiltPack | undefined {
    const units = this.#units;
    const [first] = units;
    const last = units.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const { lastSequence } = last.header;
    const events = this.#events.filter(({ kind, sequence }) => !lastOnly.has(kind) || sequence === lastSequence);
    const ended = events.at(-1)?.sequence === lastSequence || this.#rows.at(-1)?.sequence === lastSequence;
    if (!ended && this.#spare !== undefined) this.#rows.push(this.#spare());
    const rows = this.#rows;
    const same = units.length === 1 && rows.length === first.header.extents.count && !hasDead(first);
    const bytes = same ? undefined : this.#encode(first.header, last.header, rows, events);
    this.#units = [];
    this.#rows = [];
    this.#events = [];
    this.#filled = 0;
    this.#spare = undefined;
    return bytes === undefined ? undefined : { bytes, units };
  }

  #encode(first: BatchHeader, last: BatchHeader, rows: readonly Row[], events: readonly BatchEvent[]): Uint8Array {
    const packed = packExtents(
      {
        count: rows.length,
        kind: Uint8Array.from(rows, ({ kind }) => kind),
        volume: Uint16Array.from(rows, ({ volume }) => volume),
        sequenceDelta: Uint32Array.from(rows, ({ sequence }) => sequence - first.firstSequence),
        offset: Float64Array.from(rows, ({ offset }) => offset),
        length: Uint32Array.from(rows, ({ length }) => length),
        payloadOffset: Uint32Array.from(rows, ({ payloadOffset }) => payloadOffset),
      },
      this.#payload.subarray(0, this.#filled),
      "zstd1",
      this.#room,
    );
    const { vpgId, term, session, batch, previousHash, configRevision, firstSequence, sourceTimeFirst } = first;
    const { lastSequence, sourceTimeLast } = last;
    const facts = { vpgId, term, session, batch, previousHash, configRevision, firstSequence, sourceTimeFirst };
    return encodeBatch({ ...facts, lastSequence, sourceTimeLast, ...packed, events });
  }

  #takes({ unit, header }: ReadUnit): boolean {
    const [first] = this.#units;
    const last = this.#units.at(-1);
    if (first === undefined || last === undefined) return true;
    if (unit.batch !== last.unit.to || header.configRevision !== last.header.configRevision) return false;
    if (this.#cuts.has(last.header.lastSequence) || last.header.events.some(endsSession)) return false;
    if (header.lastSequence - first.header.firstSequence > u32Max) return false;
    if (this.#events.length + header.events.length > limits.eventsMax) return false;
    if (this.#rows.length + header.extents.count + this.#events.length + header.events.length >= recordsMax)
      return false;
    return this.#filled + this.#seenBytes(unit, header) + sectorBytesMost <= payloadBytesMax;
  }

  #seenBytes(unit: Unit, { extents }: BatchHeader): number {
    let bytes = 0;
    for (let index = 0; index < extents.count; index += 1) {
      if (extents.kind[index] !== extentKinds.write) continue;
      const part = this.#seenOf(unit, extents.sequenceDelta[index] ?? 0);
      if (part !== undefined) bytes += (part.to - part.from) * 512;
    }
    return bytes;
  }

  #take(read: ReadUnit): void {
    const { unit, header, object } = read;
    const { extents } = header;
    const frames = new Map<number, Uint8Array>();
    const rawOf = (index: number): Uint8Array => {
      const known = frames.get(index);
      if (known !== undefined) return known;
      const info = header.frames[index];
      const stored = object.subarray(info?.start, (info?.start ?? 0) + (info?.storedLength ?? 0));
      const raw = decodeFrame(header, index, stored);
      frames.set(index, raw);
      return raw;
    };
    const rowOf = (index: number, { from, to }: SeenPart): Row => {
      const kind = extents.kind[index] ?? 0;
      const [skip, length] = [from * 512, (to - from) * 512];
      const payloadOffset = this.#filled;
      if (kind === extentKinds.write) {
        const at = (extents.frameOffset[index] ?? 0) + skip;
        this.#payload.set(rawOf(extents.frame[index] ?? 0).subarray(at, at + length), payloadOffset);
        this.#filled += length;
      }
      const sequence = header.firstSequence + (extents.sequenceDelta[index] ?? 0);
      const offset = (extents.offset[index] ?? 0) + skip;
      return { kind, volume: extents.volume[index] ?? 0, sequence, offset, length, payloadOffset };
    };
    this.#spare = undefined;
    for (let index = 0; index < extents.count; index += 1) {
      const delta = extents.sequenceDelta[index] ?? 0;
      const part = this.#seenOf(unit, delta);
      if (part !== undefined) this.#rows.push(rowOf(index, part));
      else if (header.firstSequence + delta === header.lastSequence) {
        const to = Math.min(extents.length[index] ?? 0, sectorBytesMost) / 512;
        this.#spare = () => rowOf(index, { from: 0, to });
      }
    }
    this.#events.push(...header.events);
    this.#units.push(read);
  }
}

const hasDead = ({ unit }: ReadUnit): boolean => unit.liveBytes < unit.totalBytes * limits.liveLeast;
