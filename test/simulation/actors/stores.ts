import type { FaultKind } from "#adapters/faulty/fault-plan.ts";
import { type Actor, oneOf, toSite } from "./actor.ts";

const methods = ["get", "put", "head", "list", "query", "transact", "start", "succeed", "describe"] as const;
const kinds: readonly FaultKind[] = ["failBefore", "lostReply", "delay", "duplicate"];
const timesMax = 4;

export const stores: readonly Actor[] = [
  {
    name: "faulty store",
    kind: "fault",
    weight: 8,
    act: (world, random) =>
      toSite(world, random, async (site) => {
        const method = oneOf(random, methods) ?? "put";
        const kind = oneOf(random, kinds) ?? "failBefore";
        const times = 1 + random.below(timesMax);
        site.plan.failNext(method, kind, times);
        return `the next ${times} of ${method}: ${kind}`;
      }),
  },
];
