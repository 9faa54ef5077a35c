import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Heartbeat } from "#core/api/gateway-api.ts";
import { newId } from "#core/ids.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { silentLog } from "../../test/kit/site.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import { HeartbeatLoop } from "./heartbeat-loop.ts";
import type { HeartbeatAnswer } from "./site-client.ts";

let clock: VirtualClock;
let loop: HeartbeatLoop;
/** What the site got, and how it answers each; a heartbeat that is not answered hangs. */
let sent: Heartbeat[];
let replies: ((answer: HeartbeatAnswer | Error) => void)[];
let told: number[];
let busy: boolean;

const processId = newId(new VirtualClock(), new SeededRandom(1));

beforeEach(() => {
  clock = new VirtualClock();
  [sent, replies, told, busy] = [[], [], [], false];
  loop = new HeartbeatLoop({
    clock,
    log: silentLog,
    site: {
      heartbeat: (heartbeat) =>
        new Promise((resolve, reject) => {
          sent.push(heartbeat);
          replies.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
        }),
    },
    sample: () => ({ version: "1", sampledAt: clock.now(), processId, streams: [], attachedOperations: [] }),
    answered: (_, number) => told.push(number),
    busy: () => busy,
  });
});

afterEach(async () => {
  for (const reply of replies) reply(new Error("the test is over"));
  await loop.close();
});

async function answer(siteTime: number, nextHeartbeatMs = 5000): Promise<void> {
  await clock.settle();
  replies.shift()?.({ siteTime, nextHeartbeatMs, commands: [], streams: [] });
  await clock.settle();
}

describe("HeartbeatLoop", () => {
  it("says what the site's time was at least: that of the last answer, and what passed since it came", async () => {
    loop.start();
    await clock.settle();
    await clock.advance(700);
    await answer(1_000_000);
    await clock.advance(5000);
    await answer(1_006_000);
    await clock.advance(5000);
    expect(sent.map(({ siteTime }) => siteTime)).toEqual([null, 1_005_000, 1_011_000]);
    expect(told).toEqual([1, 2]);
  });

  it("comes when the site asks for it, every second while something waits, and soon after a failure", async () => {
    loop.start();
    await answer(0);
    await clock.advance(4999);
    expect(sent.length).toBe(1);
    await clock.advance(1);
    expect(sent.length).toBe(2);
    busy = true;
    await answer(0);
    await clock.advance(1000);
    expect(sent.length).toBe(3);
    busy = false;
    replies.shift()?.(new Error("no route"));
    await clock.settle();
    expect(loop.reachable).toBe(false);
    await clock.advance(1000);
    expect(sent.length).toBe(4);
    await answer(0);
    expect(loop.reachable).toBe(true);
    expect(told).toEqual([1, 2, 4]);
  });

  it("tells nobody of an answer that comes after the stop, and sends nothing more", async () => {
    loop.start();
    await clock.settle();
    const closed = loop.close();
    await answer(1_000_000);
    await closed;
    await clock.advance(60_000);
    expect([sent.length, told]).toEqual([1, []]);
  });
});
