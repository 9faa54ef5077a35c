import { protectionLimits } from "#core/protection/limits.ts";
import { ageingUsage } from "./retention-usage.ts";
import { scrubUsage } from "./scrub-usage.ts";
import {
  add,
  heartbeatUsage,
  intervalUsage,
  monthSeconds,
  multiply,
  siteUsage,
  storedUsage,
  testUsage,
  type Usage,
  type Workload,
} from "./usage.ts";

/** A month in which all VPGs are written to all the time (`busy`), or none is ever (`idle`); what is stored is the same. */
export function monthlyUsage(workload: Workload, state: "idle" | "busy"): Usage {
  const idle = state === "idle";
  const intervals = (monthSeconds * 1000) / workload.checkpointIntervalMs;
  const heartbeats = (monthSeconds * 1000) / protectionLimits.heartbeatIntervalMs;
  const shippedGb = idle ? 0 : (workload.shippedBytesPerSecond * monthSeconds) / 2 ** 30;
  const sources = Math.min(workload.vpgs, workload.gateways);
  return add(
    siteUsage(workload),
    storedUsage(workload),
    ageingUsage(workload, state),
    scrubUsage(workload),
    multiply(heartbeatUsage(workload, idle), heartbeats * sources),
    multiply(heartbeatUsage(workload, false), heartbeats * (workload.gateways - sources)),
    multiply(testUsage(workload), workload.testsPerMonth),
    idle ? {} : multiply(intervalUsage(workload), intervals * workload.vpgs),
    workload.source === "other-region" ? { transferBetweenRegionsGb: shippedGb } : { transferInGb: shippedGb },
  );
}
