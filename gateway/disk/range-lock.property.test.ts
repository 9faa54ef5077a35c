import fc from "fast-check";
import { expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { type RangeHold, RangeLock } from "./range-lock.ts";

interface Request {
  readonly offset: number;
  readonly length: number;
  readonly exclusive: boolean;
}

const request = fc.record({
  offset: fc.integer({ min: 0, max: 20 }),
  length: fc.integer({ min: 1, max: 8 }),
  exclusive: fc.boolean(),
});

/** Either a new request, or the release of the n-th that is held. */
const step = fc.oneof(request, fc.record({ release: fc.nat() }));

function inConflict(one: Request, other: Request): boolean {
  return (
    (one.exclusive || other.exclusive) &&
    one.offset < other.offset + other.length &&
    other.offset < one.offset + one.length
  );
}

/** The model: who came holds its range as soon as nothing before it that conflicts is still there. */
function holders(arrived: readonly Request[]): readonly Request[] {
  return arrived.filter((each, at) => !arrived.slice(0, at).some((earlier) => inConflict(earlier, each)));
}

it("grants exactly what the model grants, in the order of arrival", async () => {
  await holds(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const lock = new RangeLock();
      const arrived: Request[] = [];
      const held = new Map<Request, RangeHold>();
      const drain = async (): Promise<void> => {
        while (held.size > 0) {
          await release(0);
        }
      };
      const release = async (index: number): Promise<void> => {
        const chosen = [...held.keys()][index % held.size];
        const hold = chosen === undefined ? undefined : held.get(chosen);
        if (chosen !== undefined && hold !== undefined) {
          held.delete(chosen);
          arrived.splice(arrived.indexOf(chosen), 1);
          lock.release(hold);
        }
        await new Promise((resolve) => setImmediate(resolve));
        expect([...held.keys()].sort(byArrival)).toEqual(holders(arrived));
      };
      const byArrival = (one: Request, other: Request): number => arrived.indexOf(one) - arrived.indexOf(other);
      for (const each of steps) {
        if ("release" in each) {
          if (held.size > 0) {
            await release(each.release);
          }
          continue;
        }
        const free = !arrived.some((earlier) => inConflict(earlier, each));
        expect(lock.isFree(each.offset, each.length, each.exclusive)).toBe(free);
        arrived.push(each);
        void lock.acquire(each.offset, each.length, each.exclusive).then((hold) => held.set(each, hold));
        await Promise.resolve();
        expect(held.has(each)).toBe(free);
      }
      await drain();
      expect(lock.size).toBe(0);
      expect(arrived).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

it("refuses a hold that would pass an earlier one, and a release of what isn't held", () => {
  const lock = new RangeLock();
  const hold = lock.hold(0, 10, true);
  expect(() => lock.hold(5, 10, false)).toThrow(TypeError);
  lock.release(hold);
  expect(() => lock.release(hold)).toThrow(TypeError);
});
