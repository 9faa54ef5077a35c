import { z } from "zod";
import { Corrupt } from "#core/errors.ts";
import { jsonBytes, parseStored } from "#core/json.ts";
import { listAll } from "#core/list-all.ts";
import type { Objects } from "#core/ports.ts";
import { type Digest, type DigestRef, digestRefSchema, readDigest } from "./digest.ts";
import { bytesEqual, sha256 } from "./hash.ts";
import { manifestKey, manifestPrefix, parseManifestKey } from "./keys.ts";
import {
  batchNumberMax,
  layerHeaderBytesMax,
  layerPartBytesMax,
  layerPartsMax,
  manifestBytesMax,
  safeIntegerMax,
  u32Max,
  volumeNumberMax,
} from "./limits.ts";

const placeSchema = z.strictObject({
  volume: z.int().min(0).max(volumeNumberMax),
  chunk: z.int().min(0).max(safeIntegerMax),
});

/** One object of a layer, with what a reader needs to pass it over or to read its directory exactly. */
const partSchema = z.strictObject({
  bytes: z.int().min(1).max(layerPartBytesMax),
  headerLength: z.int().min(1).max(layerHeaderBytesMax),
  /** Of its sections, by volume and chunk: the first chunk of the first one, and the last that one of the last volume reaches. */
  first: placeSchema,
  last: placeSchema,
});
export type ManifestPart = z.infer<typeof partSchema>;

/** Batches `from` to `to` - 1 of a session, and the last sequence of the last one. */
const rangeSchema = z.strictObject({
  session: z.int().min(1).max(u32Max),
  from: z.int().min(0).max(batchNumberMax),
  to: z.int().min(1).max(batchNumberMax),
  lastSequence: z.int().min(1).max(safeIntegerMax),
});
export type BatchRange = z.infer<typeof rangeSchema>;

const layerIdSchema = z.string().regex(/^[0-7][0-9a-hjkmnp-tv-z]{25}$/);

const layerSchema = z.strictObject({
  layerId: layerIdSchema,
  /** What it stands for, by session. */
  ranges: z.array(rangeSchema).min(1),
  extents: z.int().min(0),
  /** None when its batches have neither writes nor zeros. */
  parts: z.array(partSchema),
});
export type ManifestLayer = z.infer<typeof layerSchema>;

/** A layer whose batches another one stands for since then: kept a while for who reads by an older manifest, then deleted. */
const replacedSchema = z.strictObject({
  layerId: layerIdSchema,
  parts: z
    .int()
    .min(0)
    .max(layerPartsMax + 1),
  replacedAt: z.int().min(0),
});
export type ReplacedLayer = z.infer<typeof replacedSchema>;

/** `manifests/<vpg>/<n>.json`: the layers that stand for the first batches of each session. The highest number counts. */
const manifestSchema = z.strictObject({
  /** 2 with a digest, which readers of 1 refuse. */
  formatVersion: z.union([z.literal(1), z.literal(2)]),
  vpgId: z.string(),
  manifest: z.int().min(1).max(u32Max),
  createdAt: z.int().min(0),
  layers: z.array(layerSchema),
  replaced: z.array(replacedSchema),
  /** What retention left: which checkpoints are listed, and which packs stand for batches. */
  digest: digestRefSchema.exactOptional(),
});
export type ManifestFields = z.infer<typeof manifestSchema>;

/** As stored: a changed digit would otherwise leave batches or parts out unseen. */
const storedSchema = manifestSchema.extend({ sha256: z.string() });

/** A manifest with what its layers come to. */
export interface Manifest extends ManifestFields {
  /** Session to how many of its batches, from 0 on, layers stand for, and the last one's last sequence. */
  readonly covered: ReadonlyMap<number, { readonly batches: number; readonly lastSequence: number }>;
}

/** True when a layer stands for the batch. */
export function isCovered(
  manifest: Manifest | undefined,
  { session, batch }: { session: number; batch: number },
): boolean {
  return batch < (manifest?.covered.get(session)?.batches ?? 0);
}

/** The format of a manifest by whether it names a digest. */
export const manifestFormat = (
  digest: DigestRef | undefined,
): { formatVersion: 1 } | { formatVersion: 2; digest: DigestRef } =>
  digest === undefined ? { formatVersion: 1 } : { formatVersion: 2, digest };

/** Throws `Corrupt` when layers overlap or leave a batch out. */
export function manifestOf(fields: ManifestFields): Manifest {
  const ranges = fields.layers
    .flatMap((layer) => layer.ranges)
    .sort((one, other) => one.session - other.session || one.from - other.from);
  const covered = new Map<number, { batches: number; lastSequence: number }>();
  for (const { session, from, to, lastSequence } of ranges) {
    const before = covered.get(session) ?? { batches: 0, lastSequence: 0 };
    if (from !== before.batches || to <= from || lastSequence <= before.lastSequence) {
      throw new Corrupt(
        `manifest ${fields.manifest} has layers that don't follow each other at batch ${from} of session ${session}`,
        { key: manifestKey(fields.vpgId, fields.manifest) },
      );
    }
    covered.set(session, { batches: to, lastSequence });
  }
  return { ...fields, covered };
}

/** The bytes of a manifest; the same layers give the same bytes. */
export function encodeManifest(manifest: ManifestFields): Uint8Array {
  const { formatVersion, vpgId, manifest: number, createdAt, layers, replaced, digest } = manifest;
  const base = { formatVersion, vpgId, manifest: number, createdAt, layers, replaced };
  const plain = digest === undefined ? base : { ...base, digest };
  const bytes = jsonBytes({ ...plain, sha256: Buffer.from(sha256(jsonBytes(plain))).toString("hex") });
  if (bytes.length > manifestBytesMax) throw new RangeError(`a manifest of ${bytes.length} bytes`);
  return bytes;
}

function fieldsOf(bytes: Uint8Array, key: string): ManifestFields {
  const { sha256: _, ...fields } = parseStored(storedSchema, bytes, key);
  if ((fields.digest === undefined) !== (fields.formatVersion === 1)) {
    throw new Corrupt(`${key} is of format ${fields.formatVersion} ${fields.digest ? "with" : "without"} a digest`, {
      key,
    });
  }
  return fields;
}

/** Reads the manifest of that number. Throws `Corrupt` when it isn't what its name says, `NotFound`. */
export async function readManifest(objects: Pick<Objects, "get">, vpgId: string, number: number): Promise<Manifest> {
  const key = manifestKey(vpgId, number);
  const bytes = await objects.get(key, { offset: 0, length: manifestBytesMax });
  const fields = fieldsOf(bytes, key);
  if (fields.vpgId !== vpgId || fields.manifest !== number) throw new Corrupt(`${key} is another manifest`, { key });
  if (!bytesEqual(bytes, encodeManifest(fields)))
    throw new Corrupt(`${key} does not have the SHA-256 it says`, { key });
  return manifestOf(fields);
}

/**
 * The newest manifest by the bucket alone; undefined when there is none. A damaged one is passed over while the one before it names
 * no digest, since layers are only an index; else it is thrown: nothing else says what is listed and where it stands.
 */
export async function newestManifestInBucket(
  objects: Pick<Objects, "get" | "list">,
  vpgId: string,
): Promise<Manifest | undefined> {
  let [newest, before] = [0, 0];
  for await (const { key } of listAll(objects, manifestPrefix(vpgId))) {
    [before, newest] = [newest, parseManifestKey(key)?.manifest ?? newest];
  }
  if (newest === 0) return undefined;
  try {
    return await readManifest(objects, vpgId, newest);
  } catch (error) {
    if (!(error instanceof Corrupt)) throw error;
    const older = before === 0 ? undefined : await readManifest(objects, vpgId, before);
    if (older === undefined || older.digest !== undefined) throw error;
    return older;
  }
}

/** The digest that a manifest names, if it names one. */
export async function digestOf(
  objects: Pick<Objects, "get">,
  manifest: Manifest | undefined,
): Promise<Digest | undefined> {
  return manifest?.digest === undefined ? undefined : readDigest(objects, manifest.vpgId, manifest.digest);
}
