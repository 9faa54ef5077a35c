import fc from "fast-check";
import { expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { probeBytes } from "./device-size.ts";

it("finds the end of any device by reads", async () => {
  await holds(
    fc.property(fc.nat(2 ** 40), (sectors) => {
      const readable = (offset: number): boolean => {
        if (offset / 512 >= sectors) {
          throw new Error("beyond the end");
        }
        return true;
      };
      expect(probeBytes(readable)).toBe(sectors * 512);
    }),
  );
});
