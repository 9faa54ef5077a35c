import { mkdtemp, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Objects } from "#core/ports.ts";
import { MemoryObjects } from "./memory-objects.ts";
import { FileObjects } from "./objects.ts";

// A failure prints its seed: SEED=n npx vitest run --project unit adapters/embedded/objects.property.test.ts
const seed = Number(process.env["SEED"] ?? Date.now() & 0x7fffffff);

// Few characters, those that sort before and after the slash among them, so that folders and names collide often.
const segment = fc.stringMatching(/^[a.-]{1,2}$/).filter((text) => text !== "." && text !== "..");
const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));
const prefix = fc.oneof(
  fc.constant(""),
  key,
  key.map((text) => `${text}/`),
);

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("put" as const), key, ifAbsent: fc.boolean(), size: fc.nat(9) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rest" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("list" as const),
      prefix,
      after: fc.oneof(prefix, key),
      limit: fc.integer({ min: 1, max: 5 }),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The answer, or the error's name. */
async function take(objects: Objects, taken: Step): Promise<unknown> {
  try {
    if (taken.do === "put")
      return await objects.put(taken.key, new Uint8Array(taken.size), { ifAbsent: taken.ifAbsent });
    if (taken.do === "delete") return await objects.delete(taken.key);
    if (taken.do === "list") return await objects.list(taken.prefix, { after: taken.after, limit: taken.limit });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.name : error;
  }
}

it("FileObjects and MemoryObjects answer alike, whatever is put, deleted and listed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const root = await mkdtemp(join(tmpdir(), "farshore-alike-"));
      const onDisk = await FileObjects.open(root);
      const inMemory = new MemoryObjects();
      const folders = new Set<string>();
      let rests = 0;
      for (const taken of steps) {
        // A name that was a folder once can't become an object in files; in memory it can.
        if (taken.do === "put" && folders.has(taken.key)) continue;
        // A folder that was still long enough is remembered by FileObjects, until it has changed: no two rests are at one time.
        if (taken.do === "rest") await utimes(root, rests, rests++);
        expect(await take(onDisk, taken)).toEqual(await take(inMemory, taken));
        if (taken.do === "put")
          for (let at = taken.key.indexOf("/"); at > 0; at = taken.key.indexOf("/", at + 1))
            folders.add(taken.key.slice(0, at));
      }
      await rm(root, { recursive: true });
    }),
    { numRuns: 60, seed },
  );
});
