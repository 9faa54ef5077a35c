import { describe, expect, it } from "vitest";
import type { PeerFault } from "#adapters/faulty/faulty-peers.ts";
import { machines } from "../../cli/site/machines.ts";
import { aslMutants } from "../kit/asl-mutations.ts";
import type { ReverseOptionsOfTest, Side } from "../kit/reverse-world.ts";
import {
  checkReverse,
  endOfReverse,
  playReverse,
  type ReverseScenario,
  reverseScenarios,
} from "./reverse-scenarios.ts";

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

describe.each(["a", "b"] as const)("site %s is killed after every single call of its bucket or table", (side: Side) => {
  it.each(honest)("$name", async (scenario) => {
    const whole = await endWith(scenario, {});
    for (let call = 1; call <= whole.world.calls[side]; call += 1) {
      const { end } = await endWith(scenario, { killAt: { side, call } });
      expect({ call, end }).toEqual({ call, end: whole.end });
    }
  });
});

describe("site b is killed after every event of the execution", () => {
  it.each(honest)("$name", async (scenario) => {
    const whole = await endWith(scenario, {});
    for (let event = 1; event <= whole.world.events; event += 1) {
      const { world, end } = await endWith(scenario, { killAtEvent: event });
      expect({ event, end, kills: world.kills.b }).toEqual({ event, end: whole.end, kills: 1 });
    }
  });
});

describe("each message between the sites", () => {
  const [plain] = reverseScenarios;
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

it("has no Next, Default, Catch or Retry that could be changed unnoticed", async () => {
  for (const scenario of reverseScenarios) await checkReverse(scenario);
  const survivors: string[] = [];
  const mutants = [...aslMutants(machines["reverse-protection"]?.definition)];
  for (const { document, label } of mutants) {
    let noticed = false;
    for (const scenario of reverseScenarios) {
      try {
        await checkReverse(scenario, { document });
      } catch {
        noticed = true;
        break;
      }
    }
    if (!noticed) survivors.push(label);
  }
  console.info(`reverse-protection: ${mutants.length - survivors.length} of ${mutants.length} mutants killed`);
  expect(survivors).toEqual([]);
});
