import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { CompareAhead } from "./compare-ahead.ts";
import { siteLimits } from "./limits.ts";

const operationId = idSchema.parse("01k3s1te000000000000000001");
const place = (page: number) => ({ session: 1, volume: 1, page });

/** Begun and ended pages; each waits for its turn to be ended. */
function rig() {
  const begun: number[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  const ahead = new CompareAhead(async (_, { page }, pause) => {
    begun.push(page);
    const end = Promise.withResolvers<void>();
    ends.push(end);
    await end.promise;
    await pause();
  }, new QuietLog());
  const turns = async () => {
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  };
  return { ahead, begun, ends, turns };
}

describe("CompareAhead", () => {
  it("compares one page after the other, also behind one that failed", async () => {
    const { ahead, begun, ends, turns } = rig();
    for (const page of [3, 4, 5]) ahead.arrived(operationId, place(page));
    await turns();
    expect(begun).toEqual([3]);
    ends[0]?.reject(new Transient("away"));
    await turns();
    expect(begun).toEqual([3, 4]);
    ends[1]?.resolve();
    await turns();
    expect(begun).toEqual([3, 4, 5]);
    ends[2]?.resolve();
    await ahead.close();
  });

  it("leaves to the state machine what is more than may wait", async () => {
    const { ahead, begun, ends, turns } = rig();
    for (let page = 0; page <= siteLimits.pagesAheadMax; page += 1) ahead.arrived(operationId, place(page));
    for (let page = 0; page < siteLimits.pagesAheadMax; page += 1) {
      await turns();
      ends[page]?.resolve();
    }
    await turns();
    expect(begun).toHaveLength(siteLimits.pagesAheadMax);
    ahead.arrived(operationId, place(7));
    await turns();
    expect(begun.at(-1)).toBe(7);
    ends.at(-1)?.resolve();
    await ahead.close();
  });

  it("gives up at its close, and begins nothing more", async () => {
    const { ahead, begun, ends, turns } = rig();
    for (const page of [1, 2]) ahead.arrived(operationId, place(page));
    await turns();
    const closed = ahead.close();
    ends[0]?.resolve();
    await closed;
    ahead.arrived(operationId, place(3));
    await turns();
    expect(begun).toEqual([1]);
  });
});
