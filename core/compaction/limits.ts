/** Bounds of compaction: nothing it holds grows with a volume's size or a journal's length. */
export const compactionLimits = {
  /** Batches that a layer is made of at least: what a view reads one by one instead are fewer. At a batch in 5 s a layer comes every 80 s. */
  layerBatchesMin: 16,
  /** Batches that one layer is made of at most, and their extents: 24 bytes each in columns, about 30 MiB with what sorting takes. */
  layerBatchesMax: 1024,
  layerExtentsMax: 2 ** 19,
  /** Layers of one size that are merged into one of the next: a write is indexed again at most once for each size. */
  mergeLayersMin: 4,
  /** What a merged layer may stand for: a second or two a million extents, and some 200 bytes held for each batch. Layers beyond are left as they are. */
  mergedExtentsMax: 2 ** 24,
  mergedBatchesMax: 2 ** 18,
  /** How long a merged layer stays for those who read by an older manifest; who comes later finds it gone and reads the newest. */
  replacedLayersMs: 3_600_000,
  /** Extents after which a section ends at the next chunk: read in about the time that a request takes anyway. */
  sectionExtents: 2048,
  /** Bytes of sections read by one request while layers are merged, held for each. */
  sectionReadBytes: 1024 * 1024,
  /** Bytes after which a part ends: held while it is put together, and again as the object. */
  partBytes: 12 * 1024 * 1024,
  /** Headers read at the same time. */
  readsMax: 16,
  /** Manifests written by one run for one VPG: a journal that is far behind is caught up with over several runs. */
  stepsMax: 64,
  /** A run begins no further step after this: the next one, or another process, goes on from the manifest. */
  runMs: 240_000,
} as const;
