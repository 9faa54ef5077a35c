import { z } from "zod";
import { Corrupt, NoCheckpoint } from "#core/errors.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import type { Objects } from "#core/ports.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import { digestKey } from "./keys.ts";
import { batchNumberMax, digestBytesMax, objectBytesMax, safeIntegerMax, u32Max } from "./limits.ts";
import { comparePositions, formatPosition, type Position, parsePosition } from "./position.ts";

const ulidSchema = z.string().regex(/^[0-7][0-9a-hjkmnp-tv-z]{25}$/);
const hexSchema = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0).max(safeIntegerMax);
const positionTextSchema = z.string().regex(/^\d{1,10}-\d{1,16}$/);

/** A pack: an object in the form of a batch that stands for batches `from` to `to` - 1 of a session (R13). */
const packSchema = z.strictObject({
  packId: ulidSchema,
  session: z.int().min(1).max(u32Max),
  from: z.int().min(0).max(batchNumberMax),
  to: z.int().min(1).max(batchNumberMax),
  lastSequence: z.int().min(1).max(safeIntegerMax),
  bytes: z.int().min(1).max(objectBytesMax),
  /** Of the batches as they came. */
  replacedBytes: count,
  /** How many of their markers were checkpoints. */
  checkpoints: count,
  /** Hash of the last of them: what the next batch is chained to. */
  lastHash: hexSchema,
  /** Its own. */
  sha256: hexSchema,
  packedAt: count,
});
export type Pack = z.infer<typeof packSchema>;

/** `digests/<vpg>/<digest>.json`: counts when the newest manifest names it. */
const digestSchema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: z.string(),
  digestId: ulidSchema,
  /** By the site's clock: this digest, the newest thinning, the newest pass that looked for what can be packed. */
  madeAt: count,
  thinnedAt: count,
  packedAt: count,
  /** Where `thinnedThrough` stood at that pass; null when it had to leave something for the next. */
  packedThrough: positionTextSchema.nullable(),
  /** Of the checkpoints at or before it only `kept` are listed; null before the first thinning. */
  thinnedThrough: positionTextSchema.nullable(),
  /** In order of position; `thinnedThrough` itself is one of them. */
  kept: z.array(positionTextSchema),
  /** Source time of the first of them; null without one. */
  oldestTime: z.int().nullable(),
  /** Session to how many checkpoints it had at or before `thinnedThrough`, listed or not. */
  passed: z.array(z.strictObject({ session: z.int().min(1).max(u32Max), checkpoints: count })),
  /** By session and first batch. */
  packs: z.array(packSchema),
  /** How far a journal limit has made retention coarser or shorter; 0 while it is as declared. */
  pressure: z.int().min(0).max(64),
});
export type DigestFields = z.infer<typeof digestSchema>;

/** How a manifest names its digest. */
export const digestRefSchema = z.strictObject({
  digestId: ulidSchema,
  bytes: z.int().min(1).max(digestBytesMax),
  sha256: hexSchema,
});
export type DigestRef = z.infer<typeof digestRefSchema>;

/** What everybody who lists or reads a journal asks: which checkpoints are still listed, and what stands for batches. */
export class Digest {
  readonly fields: DigestFields;
  readonly thinnedThrough: Position | undefined;
  readonly #kept: ReadonlySet<string>;
  readonly #packs: ReadonlyMap<number, readonly Pack[]>;

  /** Throws `Corrupt` when packs overlap or are not in order. */
  constructor(fields: DigestFields) {
    this.fields = fields;
    this.thinnedThrough = fields.thinnedThrough === null ? undefined : parsePosition(fields.thinnedThrough);
    this.#kept = new Set(fields.kept);
    for (const [index, pack] of fields.packs.entries()) {
      const before = fields.packs[index - 1];
      const behind = before === undefined || pack.session > before.session || pack.from >= before.to;
      if (pack.to <= pack.from || !behind || pack.session < (before?.session ?? 0)) {
        const key = digestKey(fields.vpgId, fields.digestId);
        throw new Corrupt(`${key} has packs that are not in order at ${pack.session}-${pack.from}`, { key });
      }
    }
    this.#packs = Map.groupBy(fields.packs, ({ session }) => session);
  }

  /** False for a checkpoint that retention has let go. */
  lists(position: Position): boolean {
    if (this.thinnedThrough === undefined || comparePositions(position, this.thinnedThrough) > 0) return true;
    return this.#kept.has(formatPosition(position));
  }

  /** For who reads a checkpoint: throws `NoCheckpoint` once retention has let it go, since packs then show what only others need. */
  assertLists(position: Position): void {
    if (this.lists(position)) return;
    throw new NoCheckpoint(
      `checkpoint ${formatPosition(position)} was let go by retention; farshore checkpoint list shows those there are`,
    );
  }

  /** The first checkpoint that is kept. */
  get oldest(): { readonly position: Position; readonly time: number } | undefined {
    const [first] = this.fields.kept;
    const { oldestTime } = this.fields;
    return first === undefined || oldestTime === null
      ? undefined
      : { position: parsePosition(first), time: oldestTime };
  }

  packsOf(session: number): readonly Pack[] {
    return this.#packs.get(session) ?? [];
  }

  /** Checkpoints of the session at or before `thinnedThrough`, listed or not. */
  passedIn(session: number): number {
    return this.fields.passed.find((each) => each.session === session)?.checkpoints ?? 0;
  }
}

/** The bytes of a digest and how a manifest names them. */
export function encodeDigest(fields: DigestFields): { readonly bytes: Uint8Array; readonly ref: DigestRef } {
  const bytes = jsonBytes(fields);
  if (bytes.length > digestBytesMax) throw new RangeError(`a digest of ${bytes.length} bytes`);
  return { bytes, ref: { digestId: fields.digestId, bytes: bytes.length, sha256: hexOf(sha256(bytes)) } };
}

/** Reads the digest that a manifest names. Throws `Corrupt` when it isn't what the manifest says, `NotFound`. */
export async function readDigest(objects: Pick<Objects, "get">, vpgId: string, ref: DigestRef): Promise<Digest> {
  const key = digestKey(vpgId, ref.digestId);
  const bytes = await objects.get(key, { offset: 0, length: digestBytesMax });
  if (!bytesEqual(sha256(bytes), Buffer.from(ref.sha256, "hex"))) {
    throw new Corrupt(`${key} does not have the SHA-256 that its manifest says`, { key });
  }
  const fields = parseStored(digestSchema, bytes, key);
  if (fields.vpgId !== vpgId || fields.digestId !== ref.digestId)
    throw new Corrupt(`${key} is another digest`, { key });
  return new Digest(fields);
}

export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
