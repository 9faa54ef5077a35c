import { z } from "zod";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { LayerWriter } from "#core/compaction/layer-writer.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { packsPrefix, parseBatchKey, parseSessionClaimKey, parseTermKey } from "#core/journal/keys.ts";
import { tableFields } from "#core/json.ts";
import type { Objects, TableItem } from "#core/ports.ts";
import { SyncTimeline } from "#core/protection/checkpoint.ts";
import type { Site } from "#core/site.ts";
import { RangeLock } from "../../../gateway/disk/range-lock.ts";
import { TappedDevice } from "../../../gateway/disk/tapped-device.ts";
import { SourceDisks } from "../../../gateway/source/source-disks.ts";
import { SessionLog } from "../../../gateway/tap/session-log.ts";
import { VolumeTrack } from "../../../gateway/tap/volume-track.ts";
import { VolumeTracks } from "../../../gateway/tap/volume-tracks.ts";
import type { Invariant } from "../violation.ts";
import type { Planted } from "../world.ts";

/** A bug of the kind that the simulation is there for, and what it must be found by. */
export interface Bug extends Planted {
  readonly name: string;
  readonly foundBy: readonly Invariant[];
  /** The world that is tried first (1); further ones follow it. */
  readonly seed?: number;
  /** Only these of the actors: what a rare bug needs comes more often then, and further actors change nothing of its worlds. */
  readonly actors: readonly string[];
  /** Puts it into the program; answers what takes it out again. */
  readonly plant?: () => () => void;
}

/** One method of a class is another for a while. */
function replace<T extends object, K extends keyof T>(target: T, name: K, make: (original: T[K]) => T[K]): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}

const withObjects = (site: Site, over: Partial<Objects>): Site => ({
  ...site,
  objects: {
    get: (key, range) => site.objects.get(key, range),
    put: (key, body, options) => site.objects.put(key, body, options),
    head: (key) => site.objects.head(key),
    list: (prefix, options) => site.objects.list(prefix, options),
    delete: (key) => site.objects.delete(key),
    purge: (keys) => site.objects.purge(keys),
    ...over,
  },
});

const isSeal = (key: string, body: Uint8Array): boolean =>
  parseBatchKey(key) !== undefined && decodeObject(body).kind === "seal";

/** Reads see the items otherwise than they are. */
function withTable(site: Site, seen: (item: TableItem) => TableItem): Site {
  const { table } = site;
  return {
    ...site,
    table: {
      get: async (key) => {
        const item = await table.get(key);
        return item && seen(item);
      },
      query: async (pk, options) => {
        const page = await table.query(pk, options);
        return { ...page, items: page.items.map(seen) };
      },
      transact: (actions) => table.transact(actions),
    },
  };
}

const pinnedSchema = z.looseObject({ pins: z.array(z.string()) });

/** A checkpoint's item without its pins. */
function unpinned(item: TableItem): TableItem {
  const checkpoint = pinnedSchema.safeParse(item.fields["checkpoint"]);
  if (!checkpoint.success) return item;
  return { ...item, fields: { ...item.fields, checkpoint: { ...checkpoint.data, pins: [] } } };
}

const commandItemSchema = z.looseObject({
  lifeMs: z.number(),
  command: z.looseObject({ createdAt: z.number(), expiresAt: z.number() }),
});

/** A command's item without what was said of it since its clock was set right: it is waited for, for as long as that was ahead. */
function unexpired(item: TableItem, now: number): TableItem {
  const parsed = commandItemSchema.safeParse(item.fields);
  if (!parsed.success) return item;
  const { command, lifeMs } = parsed.data;
  if (command.createdAt <= now) return item;
  return { ...item, fields: { ...item.fields, command: { ...command, expiresAt: now + lifeMs } } };
}

const forgettingSchema = z.looseObject({ forgotten: z.array(z.looseObject({})) });

/** A VPG's item that calls forgotten operations failed ones, which have their pins. */
function pinnedStill(item: TableItem): TableItem {
  const parsed = forgettingSchema.safeParse(item.fields);
  if (!parsed.success) return item;
  return {
    ...item,
    fields: { ...item.fields, forgotten: parsed.data.forgotten.map((each) => ({ ...each, failed: true })) },
  };
}

const retainedSchema = z.looseObject({
  definition: z.looseObject({
    retention: z.looseObject({
      tiers: z.array(z.looseObject({ everyMs: z.number() })),
      journalLimit: z.looseObject({}),
    }),
  }),
});

/** The item of a VPG with a journal limit: of its coarser tiers it keeps one checkpoint in twenty minutes, however little is pressed. */
function pressedTooFar(item: TableItem): TableItem {
  const parsed = retainedSchema.safeParse(item.fields);
  if (!parsed.success) return item;
  const { definition } = parsed.data;
  const tiers = definition.retention.tiers.map((tier) => (tier.everyMs === 0 ? tier : { ...tier, everyMs: 1_200_000 }));
  const retention = { ...definition.retention, tiers };
  return { ...item, fields: { ...item.fields, ...tableFields({ definition: { ...definition, retention } }) } };
}

/** Whatever fences or closes a source, its clients stay. */
const neverReadOnly = (): (() => void) =>
  replace(SourceDisks.prototype, "exportAs", (exportAs) => {
    return async function (this: SourceDisks, wanted) {
      if (wanted !== "read-only") await exportAs.call(this, wanted);
    };
  });

/** A sync in a term that reverse protection began settles what it didn't ship. */
const trustOldDisks = (): (() => void) =>
  replace(SessionLog.prototype, "settleChunk", (settle) => {
    return function (this: SessionLog, track, chunk, revision, start, bytes, pieces) {
      const reversed = (this.session?.term ?? 1) > 1;
      return settle.call(this, track, chunk, revision, start, bytes, reversed ? [] : pieces);
    };
  });

/** What a cycle is made of. */
const reversing = ["write", "failover live", "decide", "reverse protection"];

export const bugs: readonly Bug[] = [
  {
    name: "what the scrub finds to differ is not sent again",
    foundBy: ["exact", "liveness"],
    actors: ["write", "rot", "scrub"],
    plant: () => replace(SessionLog.prototype, "distrust", () => () => undefined),
  },
  {
    name: "the scrub doesn't see what guests write meanwhile",
    foundBy: ["false alarm"],
    actors: ["write much", "write", "scrub"],
    plant: () =>
      replace(TappedDevice.prototype, "watch", (watch) => {
        return function (this: TappedDevice, offset, length) {
          const watched = watch.call(this, offset, length);
          return { overlapped: () => false, end: () => watched.end() };
        };
      }),
  },
  {
    name: "a session is followed without its seal",
    // Whoever seals looks whether it came to be, so that mostly no session is opened at all any more.
    foundBy: ["one writer", "liveness"],
    actors: ["write", "restart source", "kill source"],
    site: (site) =>
      withObjects(site, {
        put: async (key, body, options) => (isSeal(key, body) ? "created" : await site.objects.put(key, body, options)),
      }),
  },
  {
    name: "an old table is not compared with the bucket",
    foundBy: ["one writer"],
    actors: ["write", "failover live", "decide", "back up table", "restore old table", "restart source", "kill source"],
    site: (site) =>
      withObjects(site, {
        list: async (prefix, options) => {
          const found = await site.objects.list(prefix, options);
          return found.filter(({ key }) => {
            const term = parseTermKey(key)?.term;
            return (term === undefined || term === 1) && parseSessionClaimKey(key) === undefined;
          });
        },
      }),
  },
  {
    name: "a batch is acknowledged before it is durable",
    foundBy: ["durable before listed", "independent"],
    actors: ["write", "restart source"],
    site: (site) =>
      withObjects(site, {
        put: async (key, body, options) => {
          if (parseBatchKey(key) === undefined || isSeal(key, body)) return await site.objects.put(key, body, options);
          if ((await site.objects.head(key)) !== undefined) return "exists";
          const kept = body.slice();
          void site.clock.sleep(1500).then(() => site.objects.put(key, kept, options));
          return "created";
        },
      }),
  },
  {
    name: "a sync settles chunks that it did not ship",
    foundBy: ["exact"],
    actors: ["write", "kill source"],
    plant: () =>
      replace(SessionLog.prototype, "settleChunk", (settle) => {
        return function (this: SessionLog, track, chunk, revision, start, bytes) {
          return settle.call(this, track, chunk, revision, start, bytes, []);
        };
      }),
  },
  {
    name: "what an overflow did not journal is not marked",
    foundBy: ["exact"],
    actors: ["write much", "write", "cut link"],
    plant: () => replace(VolumeTrack.prototype, "suspect", () => () => undefined),
  },
  {
    name: "overlapping writes are not kept apart",
    foundBy: ["exact"],
    actors: ["write much", "slow disks"],
    plant: () => replace(RangeLock.prototype, "isFree", () => () => true),
  },
  {
    name: "a layer loses a section",
    foundBy: ["exact"],
    actors: ["write", "restart source", "failover test"],
    plant: () =>
      replace(LayerWriter.prototype, "add", (add) => {
        let sections = 0;
        return async function (this: LayerWriter, section) {
          sections += 1;
          if (sections % 3 !== 0) await add.call(this, section);
        };
      }),
  },
  {
    name: "a checkpoint is listed in the midst of a sync",
    foundBy: ["exact"],
    actors: ["write", "kill source"],
    plant: () => {
      const syncing = Object.getOwnPropertyDescriptor(SessionLog.prototype, "syncing") ?? {};
      Object.defineProperty(SessionLog.prototype, "syncing", { configurable: true, get: () => false });
      const undo = replace(SyncTimeline.prototype, "unsyncedAt", () => () => new Set<number>());
      return () => {
        Object.defineProperty(SessionLog.prototype, "syncing", syncing);
        undo();
      };
    },
  },
  {
    name: "zeros are not journaled",
    foundBy: ["exact"],
    actors: ["write"],
    plant: () => replace(SessionLog.prototype, "zero", () => () => undefined),
  },
  {
    name: "a gateway that starts writes without a grant",
    foundBy: ["one writer"],
    seed: 3,
    actors: ["write", "failover live", "decide", "cut link", "kill source", "kill site"],
    startWithoutGrant: { kind: "always" },
  },
  {
    name: "a command's expiry is by a clock that has been set right since",
    foundBy: ["liveness"],
    seed: 9,
    actors: ["failover test", "move", "decide", "long sleep", "site clock jumps"],
    site: (site) => withTable(site, (item) => unexpired(item, site.clock.now())),
  },
  {
    name: "a pin is ignored by retention",
    foundBy: ["pins"],
    actors: ["write", "failover test", "open view", "long sleep", "restart source"],
    site: (site) => withTable(site, unpinned),
  },
  {
    name: "a journal limit makes more go than its policy says",
    foundBy: ["pins"],
    seed: 5,
    actors: ["write", "journal limit", "long sleep", "restart source"],
    site: (site) => withTable(site, pressedTooFar),
  },
  {
    name: "the collector deletes an object too many",
    foundBy: ["durable before listed", "independent", "exact"],
    actors: ["write", "tag", "long sleep", "restart source"],
    site: (site) =>
      withObjects(site, {
        purge: async (keys) => {
          await site.objects.purge(keys);
          const [first] = keys.flatMap((key) => parseBatchKey(key) ?? []);
          if (first === undefined) return;
          const packs = await site.objects.list(packsPrefix(first.vpgId));
          await site.objects.purge(packs.slice(-1).map(({ key }) => key));
        },
      }),
  },
  {
    name: "reverse protection lets the old source go on taking writes",
    foundBy: ["one writer"],
    seed: 3,
    actors: reversing,
    plant: neverReadOnly,
  },
  {
    name: "the sync of a reverse protection trusts the old disks",
    foundBy: ["exact"],
    seed: 3,
    actors: reversing,
    plant: trustOldDisks,
  },
  {
    name: "the sync of a reverse protection trusts disks whose gateway is said to be lost",
    foundBy: ["exact"],
    actors: ["write", "failover live", "decide", "reverse protection without the old gateway"],
    plant: trustOldDisks,
  },
  {
    name: "retention takes what the site forgot for an operation that has its pin",
    foundBy: ["pins"],
    seed: 2,
    actors: ["write", "failover live", "rebuild", "long sleep", "see to forgotten"],
    site: (site) => withTable(site, pinnedStill),
  },
  {
    name: "a move goes on with volumes that take writes",
    foundBy: ["move loses nothing"],
    actors: ["write", "move", "boot source", "decide"],
    plant: neverReadOnly,
  },
  {
    name: "what a volume has grown by is not read",
    foundBy: ["exact"],
    actors: ["write", "grow a volume"],
    plant: () =>
      replace(VolumeTracks.prototype, "addGrown", (addGrown) => {
        return function (this: VolumeTracks, before, sizeBytes) {
          const track = addGrown.call(this, before, sizeBytes);
          const first = Math.floor(before.sizeBytes / chunkBytes);
          for (let chunk = first; chunk * chunkBytes < sizeBytes; chunk += 1) track.suspects.delete(chunk);
          return track;
        };
      }),
  },
];
