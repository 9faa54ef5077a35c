import { describe, expect, it } from "vitest";
import type { PeerFault } from "#adapters/faulty/faulty-peers.ts";
import type { ReverseOptionsOfTest, Side } from "../kit/reverse-world.ts";
import {
  checkReverse,
  endOfReverse,
  playReverse,
  type ReverseScenario,
  reverseScenarios,
} from "./reverse-scenarios.ts";
import { numbersTo, samplerOf, sweepTimeoutMs } from "./sample.ts";

/** Places at which one scenario is killed in one run. */
const sampledMax = 24;

const { sample, repeat } = samplerOf("test/workflows/reverse.test.ts", "killed");
const placesOf = (count: number): readonly number[] => sample(numbersTo(count), sampledMax);

/** To the end, and back: what the others do before they part is in these. */
const honest = reverseScenarios.filter(({ name }) =>
  ["the peer gets the journal", "the old gateway does not answer, and the offer is taken back"].includes(name),
);

async function endWith(scenario: ReverseScenario, over: ReverseOptionsOfTest) {
  const world = await playReverse(scenario, over);
  try {
    const end = await endOfReverse(world);
    // What was on its way for long comes now, and changes nothing.
    await world.late();
    expect(await endOfReverse(world)).toEqual(end);
    return { world, end };
  } finally {
    world.close();
  }
}

describe("a reverse protection goes its way and ends as it must", () => {
  it.each(reverseScenarios)("$name", async (scenario) => checkReverse(scenario));
});

describe.each(["a", "b"] as const)(
  "site %s is killed after a call of its bucket or table, any of them",
  (side: Side) => {
    it.each(honest)("$name", { timeout: sweepTimeoutMs }, async (scenario) => {
      const whole = await endWith(scenario, {});
      for (const call of placesOf(whole.world.calls[side])) {
        const { end } = await endWith(scenario, { killAt: { side, call } });
        expect({ call, end }, `repeat: ${repeat}`).toEqual({ call, end: whole.end });
      }
    });
  },
);

describe("site b is killed after an event of the execution, any of them", () => {
  it.each(honest)("$name", { timeout: sweepTimeoutMs }, async (scenario) => {
    const whole = await endWith(scenario, {});
    for (const event of placesOf(whole.world.events)) {
      const { world, end } = await endWith(scenario, { killAtEvent: event });
      expect({ event, end, kills: world.kills.b }, `repeat: ${repeat}`).toEqual({ event, end: whole.end, kills: 1 });
    }
  });
});

describe("each message between the sites", () => {
  const [plain] = honest;
  it.each(["lost", "answer-lost", "twice", "late"] as const)(
    "may be %s, one by one and all at first",
    async (fault: PeerFault) => {
      if (plain === undefined) throw new Error("no scenario");
      const whole = await endWith(plain, {});
      const count = whole.world.requests.length;
      for (let bad = 1; bad <= count + 2; bad += 1) {
        let seen = 0;
        const peerFault = (): PeerFault | undefined => {
          seen += 1;
          return seen === bad || (bad === count + 2 && seen <= 6) ? fault : undefined;
        };
        const { end } = await endWith(plain, { peerFault });
        expect({ bad, end }).toEqual({ bad, end: whole.end });
      }
    },
  );
});
