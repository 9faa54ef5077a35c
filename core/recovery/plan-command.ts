import { ComputeNotConfigured, Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { parsePosition } from "#core/journal/position.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import type { Operation } from "#core/protection/operation.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { vmsOfGroup } from "./boot-groups.ts";
import { recoveryLimits } from "./limits.ts";
import { bootGroupOf, stepNames } from "./steps.ts";

/** What a step asks of a gateway: a command, nothing (with the reason for the report), or a refusal at once. */
export type CommandPlan =
  | { readonly kind: "command"; readonly gatewayId: Id; readonly body: CommandBody; readonly expiresInMs: number }
  | { readonly kind: "skip"; readonly reason: string }
  | { readonly kind: "fail"; readonly error: string; readonly message: string };

const skip = (reason: string): CommandPlan => ({ kind: "skip", reason });

/** What a plan depends on beside the records of the operation and its VPG. */
export interface PlanFacts {
  /** The source's gateway was heard of lately. */
  readonly sourceConnected: boolean;
  /** A shutdown command went out to the source, whatever became of it. */
  readonly shutdownAsked: boolean;
}

/** What the step asks of which gateway. */
export function planCommand(operation: Operation, vpg: VpgRecord, step: string, facts: PlanFacts): CommandPlan {
  const { operationId, vpgId } = operation;
  const base = { operationId, vpgId, vpgName: vpg.definition.name };
  const mode = operation.kind === "failover-live" ? "live" : "test";
  const vms = vpg.definition.vms.map((vm) => vm.name);
  const bootGroup = bootGroupOf(step);
  if (bootGroup !== undefined) {
    return recovery(vpg, { kind: "boot-vms", ...base, mode, vms: [...vmsOfGroup(vpg.definition, bootGroup)] });
  }
  switch (step) {
    case stepNames.shutdownSource:
      return planShutdown(operation, vpg, vms, facts.sourceConnected);
    case stepNames.attachVolumes: {
      const checkpointId = checkpointOf(operation);
      const volumes = volumesOf(vpg.definition).map((entry) => ({ ...entry }));
      const upTo = { ...parsePosition(checkpointId) };
      return recovery(vpg, { kind: "attach-volumes", ...base, mode, upTo, checkpointId, volumes });
    }
    case stepNames.promoteVolumes:
      return recovery(vpg, { kind: "promote-volumes", ...base });
    case stepNames.stopVms: {
      const booted = Object.keys(operation.steps).some((name) => bootGroupOf(name) !== undefined);
      if (!booted) return skip("No VM had been booted.");
      return recovery(vpg, { kind: "stop-vms", ...base, mode, vms });
    }
    case stepNames.detachVolumes: {
      if (operation.steps[stepNames.attachVolumes] === undefined) return skip("No volume had been attached.");
      const keepScratchMs = mode === "live" ? limits.scratchKeptMs : 0;
      return recovery(vpg, { kind: "detach-volumes", ...base, keepScratchMs });
    }
    case stepNames.powerOnSource: {
      if (!facts.shutdownAsked) return skip("The source had been left alone.");
      const body: CommandBody = { kind: "power-on-source", ...base, vms };
      const gatewayId = vpg.definition.sourceGatewayId;
      return { kind: "command", gatewayId, body, expiresInMs: limits.commandExpiryMs };
    }
    default:
      throw new Corrupt(`${step} is no step that a gateway does`, { step });
  }
}

function recovery(vpg: VpgRecord, body: CommandBody): CommandPlan {
  const gatewayId = vpg.definition.recoveryGatewayId;
  if (gatewayId === null) {
    throw new ComputeNotConfigured(`${vpg.definition.name} has no recovery gateway; give it one and start again`);
  }
  return { kind: "command", gatewayId, body, expiresInMs: limits.commandExpiryMs };
}

/** Design 7: graceful that can't be done fails the operation; an unreachable source under force doesn't. */
function planShutdown(
  operation: Operation,
  vpg: VpgRecord,
  vms: readonly string[],
  sourceConnected: boolean,
): CommandPlan {
  const { policy, graceMs } = operation.live?.shutdown ?? { policy: "none" as const, graceMs: 0 };
  if (policy === "none") return skip("The source was left alone, as asked.");
  const gateway = vpg.definition.sourceGatewayName;
  if (!sourceConnected) {
    if (policy === "force") return skip(`Gateway ${gateway} is silent: nothing could be shut down at the source.`);
    const message =
      `gateway ${gateway} is silent, so the source can't be shut down gracefully; ` +
      "start again with --shutdown force or none";
    return { kind: "fail", error: "SourceShutdownFailed", message };
  }
  const { operationId, vpgId } = operation;
  return {
    kind: "command",
    gatewayId: vpg.definition.sourceGatewayId,
    body: {
      kind: "shutdown-source",
      operationId,
      vpgId,
      vpgName: vpg.definition.name,
      policy,
      graceMs,
      vms: [...vms],
    },
    expiresInMs: graceMs + recoveryLimits.shutdownMarginMs,
  };
}

/** Set before anything is attached. */
export function checkpointOf(operation: Operation): string {
  if (operation.checkpointId !== null) return operation.checkpointId;
  throw new Corrupt(`operation ${operation.operationId} has no checkpoint yet`, { operationId: operation.operationId });
}
