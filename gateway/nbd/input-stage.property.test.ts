import fc from "fast-check";
import { expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { InputStage } from "./input-stage.ts";
import { type Slab, SlabPool } from "./slab.ts";

/** Fill up to so many bytes; take up to so many; or take some and leave them to a request in flight. */
const step = fc.oneof(
  fc.record({ fill: fc.integer({ min: 1, max: 300_000 }) }),
  fc.record({ take: fc.integer({ min: 1, max: 100_000 }), pin: fc.boolean() }),
  fc.record({ unpin: fc.nat() }),
  fc.record({ move: fc.integer({ min: 1, max: 100_000 }) }),
);

it("gives back exactly the bytes that came in, and leaves pinned ones alone", async () => {
  await holds(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new SlabPool();
      const stage = new InputStage(pool);
      let written = 0;
      let read = 0;
      const pinned: { readonly slab: Slab; readonly bytes: Buffer; readonly from: number }[] = [];
      const check = (bytes: Buffer, from: number): void => {
        for (let at = 0; at < bytes.length; at += 97) {
          expect(bytes[at]).toBe((from + at) % 251);
        }
      };
      for (const each of steps) {
        if ("fill" in each) {
          const space = stage.space();
          expect(space.length).toBeGreaterThan(0);
          const count = Math.min(each.fill, space.length);
          for (let at = 0; at < count; at++) {
            space[at] = (written + at) % 251;
          }
          written += count;
          stage.filled(count);
        } else if ("take" in each) {
          const count = Math.min(each.take, stage.available);
          const bytes = stage.slab.buffer.subarray(stage.position, stage.position + count);
          check(bytes, read);
          if (each.pin) {
            pool.retain(stage.slab);
            pinned.push({ slab: stage.slab, bytes, from: read });
          }
          stage.consume(count);
          read += count;
        } else if ("move" in each) {
          const target = Buffer.alloc(each.move);
          const count = stage.moveTo(target);
          check(target.subarray(0, count), read);
          read += count;
        } else if (pinned.length > 0) {
          const [pin] = pinned.splice(each.unpin % pinned.length, 1);
          if (pin !== undefined) {
            check(pin.bytes, pin.from);
            pool.release(pin.slab);
          }
        }
        expect(stage.available).toBe(written - read);
      }
      for (const pin of pinned) {
        check(pin.bytes, pin.from);
      }
    }),
    { numRuns: 60 },
  );
});

it("refuses to release a slab twice", () => {
  const pool = new SlabPool();
  const slab = pool.acquire(1);
  pool.release(slab);
  expect(() => pool.release(slab)).toThrow(TypeError);
  expect(pool.acquire(1)).toBe(slab);
});
