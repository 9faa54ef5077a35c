import type { Objects } from "#core/ports.ts";

/** What was asked of a bucket. */
export interface Traffic {
  puts: number;
  gets: number;
  lists: number;
  /** Objects deleted; of many in one request each counts. */
  deleted: number;
  /** By the first segment of the key. */
  readonly put: Map<string, number>;
  readonly got: Map<string, number>;
}

export const noTraffic = (): Traffic => ({ puts: 0, gets: 0, lists: 0, deleted: 0, put: new Map(), got: new Map() });

export const bytesIn = (areas: ReadonlyMap<string, number>): number =>
  [...areas.values()].reduce((sum, bytes) => sum + bytes, 0);

/** The same objects, counted. */
export function countedObjects(objects: Objects, traffic: Traffic): Objects {
  const add = (areas: Map<string, number>, key: string, bytes: number): void => {
    const [area = ""] = key.split("/");
    areas.set(area, (areas.get(area) ?? 0) + bytes);
  };
  return {
    async get(key, range) {
      const bytes = await objects.get(key, range);
      traffic.gets += 1;
      add(traffic.got, key, bytes.length);
      return bytes;
    },
    async put(key, body, options) {
      traffic.puts += 1;
      add(traffic.put, key, body.length);
      return objects.put(key, body, options);
    },
    head(key) {
      traffic.gets += 1;
      return objects.head(key);
    },
    list(prefix, options) {
      traffic.lists += 1;
      return objects.list(prefix, options);
    },
    delete(key) {
      traffic.deleted += 1;
      return objects.delete(key);
    },
    purge(keys) {
      traffic.deleted += keys.length;
      return objects.purge(keys);
    },
  };
}
