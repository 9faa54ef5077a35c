import type { LiveOptions } from "#core/protection/operation.ts";
import { decide } from "#core/recovery/decide.ts";
import type { ProtectedShop } from "../kit/failover-site.ts";
import { type Deed, operationId } from "../kit/failover-world.ts";
import { operator } from "../kit/site.ts";

/** What scenarios of live failovers are made of: what is asked, the ways through the document, how it ends. */

export const hour = 3_600_000;

export const live =
  (over: Partial<LiveOptions> = {}) =>
  (): { kind: "failover-live"; options: LiveOptions } => ({
    kind: "failover-live",
    options: {
      checkpoint: { kind: "latest" },
      shutdown: { policy: "none", graceMs: 0 },
      commitPolicy: { action: "none" },
      ...over,
    },
  });
export const graceful: Partial<LiveOptions> = { shutdown: { policy: "graceful", graceMs: 300_000 } };
export const force: Partial<LiveOptions> = { shutdown: { policy: "force", graceMs: 300_000 } };
export const after = (action: "commit" | "rollback", afterMs: number): Partial<LiveOptions> => ({
  commitPolicy: { action, afterMs },
});
export const byId = (shop: ProtectedShop): Partial<LiveOptions> => ({
  checkpoint: { kind: "id", id: shop.checkpoints[1] ?? "" },
});

export const commits: Deed = {
  when: "BeforeCommit",
  act: (site) => decide(site, operator, operationId, { decision: "commit" }),
};
export const rollsBack: Deed = {
  when: "BeforeCommit",
  act: (site) => decide(site, operator, operationId, { decision: "rollback" }),
};

export const begin = ["BeginOperation", "Route"];
export const shutdown = ["ShutdownSource", "CheckShutdownSource"];
export const attach = ["ResolveCheckpoint", "AttachVolumes", "CheckAttachVolumes", "NextBootGroup"];
export const boot = ["MoreBootGroups", "BootDelay", "BootGroup", "CheckBootGroup", "NextBootGroup"];
export const booted = [...boot, ...boot, "MoreBootGroups"];
export const read = ["ReadDecision", "Route"];
export const wait = ["AwaitDecision", ...read];
export const up = [...begin, ...shutdown, ...attach, ...booted, ...read];
export const end = (last: "Done" | "Failed"): string[] => ["EndOperation", "Ended", last];
export const commit = ["MintTerm", "SealSessions", "PromoteVolumes", "CheckPromoteVolumes", ...end("Done")];
export const stop = ["StopVms", "CheckStopVms"];
export const detach = ["DetachVolumes", "CheckDetachVolumes"];
export const powerOn = ["PowerOnSource", "CheckPowerOnSource"];
export const undo = [...stop, ...detach, ...powerOn];
export const fails = ["RecordFailure", "Route", ...undo, ...end("Failed")];

/** The trace up to a state's first entry, that included. */
export function upTo(trace: readonly string[], state: string): readonly string[] {
  return trace.slice(0, trace.indexOf(state) + 1);
}

export const error = { name: "Transient", message: "the hook said no" };
export const completed = { phase: "Completed", vpg: { role: "Runs", needsConfiguration: true } };
export const undone = { machines: { attached: 0, running: [], sourceRuns: true } };
export const rolledBack = { phase: "RolledBack", ...undone };
export const failed = (name: string): object => ({ phase: "Failed", error: name, next: "again", ...undone });

const passing = ["Transient", "ConditionFailed", "Lambda.TooManyRequestsException"];

/** Each of the calls fails three times in passing. */
export function transient(...calls: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(calls.map((call) => [call, passing]));
}

export const twice = (trace: readonly string[]): string[] => [...trace, ...trace];
/** Progress of a command that takes long. */
export const slow = { times: 2, everyMs: 250_000 };
