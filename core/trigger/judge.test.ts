import { expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { incidentSchema } from "./incident.ts";
import { judge } from "./judge.ts";
import { triggerPolicySchema } from "./policy.ts";
import { afterLook, unwatched } from "./watch.ts";

const vpgId = idSchema.parse("01k3s1te000000000000000001");

it("opens an incident that can be read again, however many gateways had something to say", () => {
  const trigger = triggerPolicySchema.parse({ minimumDurationMs: 10_000 });
  const watch = [0, 5000, 10_000].reduce(
    (before, now) => afterLook(before, { now, everyMs: 5000, term: 1, heard: false }),
    unwatched,
  );
  const { incident } = judge(watch, undefined, {
    ...{ now: 10_000, definition: { vpgId, name: "shop", protectedSite: "paris", trigger }, term: 1, watched: true },
    ...{ operationId: null, phase: null, heard: false, newIncidentId: vpgId },
    seen: Array.from({ length: 500 }, (_, index) => `gateway gw-${index} was last heard 20 s ago`),
  });
  expect(incidentSchema.parse(incident)).toEqual(incident);
  expect(incident?.evidence[0]).toMatch(/3 looks in a row/);
});
