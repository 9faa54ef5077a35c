import { Transient } from "#core/errors.ts";
import type { FaultKind, FaultPlan } from "./fault-plan.ts";

/** Faults that any call may have. */
export const readFaults: readonly FaultKind[] = ["failBefore", "delay"];
export const writeFaults: readonly FaultKind[] = ["failBefore", "lostReply", "delay", "duplicate"];

/** Makes one call of a port as the plan has it; `special` does the faults that only its method knows. */
export async function callWithFaults<T>(
  plan: FaultPlan,
  method: string,
  possible: readonly FaultKind[],
  call: () => Promise<T>,
  special: Readonly<Partial<Record<FaultKind, () => Promise<T>>>> = {},
): Promise<T> {
  const kind = plan.decide(method, possible);
  if (kind === undefined) return call();
  const handler = special[kind];
  if (handler !== undefined) return handler();
  if (kind === "failBefore") throw injected(plan, method, kind);
  if (kind === "delay") {
    await plan.clock.sleep(plan.delayMs());
    return call();
  }
  if (kind === "duplicate") {
    await Promise.allSettled([call()]);
    return call();
  }
  await call();
  throw injected(plan, method, kind);
}

/** The error of an injected fault; it names the seed that repeats it. */
export function injected(plan: FaultPlan, method: string, kind: FaultKind): Transient {
  return new Transient(`Injected fault: ${method} ${kind} (seed ${plan.seed}).`, {
    method,
    fault: kind,
    seed: plan.seed,
  });
}
