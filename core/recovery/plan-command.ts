import { deltaSyncLimits } from "#core/delta-sync/limits.ts";
import { ComputeNotConfigured, Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { comparePositions, formatPosition, type Position, parsePosition } from "#core/journal/position.ts";
import type { CheckpointPart } from "#core/protection/checkpoints.ts";
import type { CommandBody, Final } from "#core/protection/command.ts";
import {
  type SourceGateway,
  sourceGatewaysOf,
  type VpgDefinition,
  vmsOfGateway,
  volumesOf,
} from "#core/protection/definition.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { isLive, type LiveOptions, type Operation } from "#core/protection/operation.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import { vmsOfGroup } from "./boot-groups.ts";
import { recoveryLimits } from "./limits.ts";
import { bootGroupOf, stepNames } from "./steps.ts";

export interface PlannedCommand {
  /** Of `commandNames`. */
  readonly name: string;
  readonly gatewayId: Id;
  readonly body: CommandBody;
  readonly expiresInMs: number;
}

/** What a step asks of gateways: commands, nothing (with the reason for the report), or a refusal at once. */
export type CommandPlan =
  | { readonly kind: "commands"; readonly commands: readonly PlannedCommand[]; readonly change?: Partial<Operation> }
  | { readonly kind: "skip"; readonly reason: string; readonly change?: Partial<Operation> }
  | { readonly kind: "fail"; readonly error: string; readonly message: string };

const skip = (reason: string): CommandPlan => ({ kind: "skip", reason });

/** What a plan depends on beside the records of the operation and its VPG. */
export interface PlanFacts {
  /** Source gateways that were heard of lately. */
  readonly connected: ReadonlySet<Id>;
  /** A shutdown command went out to the source, whatever became of it. */
  readonly shutdownAsked: boolean;
  /** Of the operation's checkpoint; empty before it is resolved. */
  readonly parts: readonly CheckpointPart[];
  /** What the operation's checkpoint has (`definitionAt`); the VPG's own before it is resolved. */
  readonly recovered: VpgDefinition;
  /** Of protect-volumes: the operation whose disks the VPG runs on. */
  readonly promotedBy: Id | null;
}

/** Steps that every source gateway has a part in. */
const sourceSteps: readonly string[] = [
  stepNames.shutdownSource,
  stepNames.powerOnSource,
  stepNames.closeVolumes,
  stepNames.verifyVolumes,
  stepNames.openVolumes,
  stepNames.removeSource,
  stepNames.hashVolumes,
  stepNames.shipWanted,
];

/** Names of the commands that a step may give: the step's own, or one for each of several source gateways. */
export function commandNames(definition: VpgDefinition, step: string): readonly string[] {
  const gateways = sourceGatewaysOf(definition);
  if (gateways.length === 1 || !sourceSteps.includes(step)) return [step];
  return gateways.map((gateway) => commandNameOf(definition, step, gateway));
}

function commandNameOf(definition: VpgDefinition, step: string, { gatewayId }: SourceGateway): string {
  return sourceGatewaysOf(definition).length === 1 ? step : `${step}.${gatewayId}`;
}

/** Name of the command that the coordinator gets when all of several source gateways have done the step, if there is one. */
export function followUpName(definition: VpgDefinition, step: string): string | undefined {
  if (sourceGatewaysOf(definition).length === 1) return undefined;
  if (step === stepNames.shutdownSource) return `${step}.checkpoint`;
  return step === stepNames.closeVolumes ? `${step}.final` : undefined;
}

/**
 * That command. Behind the shutdowns a barrier of all gateways, so that the newest checkpoint has their last writes; one gateway
 * alone makes its last marker within its shutdown. Behind the closes the coordinator's FINAL, whose barrier names those of the
 * others: by then nobody writes.
 */
export function followUp(
  operation: Operation,
  { definition }: VpgRecord,
  step: string,
  finals: readonly Final[],
): PlannedCommand | undefined {
  const name = followUpName(definition, step);
  if (name === undefined) return undefined;
  const { vpgId, operationId } = operation;
  const gatewayId = definition.sourceGatewayId;
  if (step === stepNames.shutdownSource) {
    const body = { kind: "tag-checkpoint" as const, vpgId, tag: `Source shut down for ${operationId}` };
    return { name, gatewayId, body, expiresInMs: limits.tagExpiryMs };
  }
  const others = finals.map(({ session, sequence }) => ({ session, sequence }));
  const vpgName = definition.name;
  const body = { kind: "close-volumes" as const, operationId, vpgId, vpgName, term: null, final: true, others };
  return { name, gatewayId, body, expiresInMs: recoveryLimits.closeExpiryMs };
}

/** What the step asks of which gateway. */
export function planCommand(operation: Operation, vpg: VpgRecord, step: string, facts: PlanFacts): CommandPlan {
  const { operationId, vpgId } = operation;
  const base = { operationId, vpgId, vpgName: vpg.definition.name };
  const mode = isLive(operation) ? "live" : "test";
  const { recovered } = facts;
  const bootGroup = bootGroupOf(step);
  if (bootGroup !== undefined) {
    return recovery(vpg, step, { kind: "boot-vms", ...base, mode, vms: [...vmsOfGroup(recovered, bootGroup)] });
  }
  switch (step) {
    case stepNames.shutdownSource:
      return planShutdown(operation, vpg, facts.connected);
    case stepNames.attachVolumes: {
      const checkpointId = checkpointOf(operation);
      const { upTo, ofVolume } = positions(facts.parts, parsePosition(checkpointId));
      const volumes = volumesOf(recovered).map((entry) => ({ ...entry, ...ofVolume(entry.volume) }));
      return recovery(vpg, step, { kind: "attach-volumes", ...base, mode, upTo, checkpointId, volumes });
    }
    case stepNames.promoteVolumes:
      return recovery(vpg, step, { kind: "promote-volumes", ...base });
    case stepNames.stopVms:
    case stepNames.retargetStopVms: {
      const booted = Object.keys(operation.steps).some((name) => bootGroupOf(name) !== undefined);
      if (!booted && operation.resumeId === null) return skip("No VM had been booted.");
      const vms = recovered.vms.map((vm) => vm.name);
      return recovery(vpg, step, { kind: "stop-vms", ...base, mode, vms });
    }
    case stepNames.detachVolumes:
    case stepNames.retargetDetachVolumes: {
      const attached = operation.steps[stepNames.attachVolumes] !== undefined;
      if (!attached && operation.resumeId === null) return skip("No volume had been attached.");
      const keepScratchMs = mode === "live" ? limits.scratchKeptMs : 0;
      return recovery(vpg, step, { kind: "detach-volumes", ...base, keepScratchMs });
    }
    case stepNames.hashVolumes: {
      const gateways = sourceGatewaysOf(vpg.definition);
      const silent = gateways.filter(({ gatewayId }) => !facts.connected.has(gatewayId)).map(({ name }) => name);
      if (silent.length > 0) {
        const message = `gateway ${silent.join(", ")} is silent, so its disks can't be read`;
        return { kind: "fail", error: "CommandExpired", message };
      }
      const body = { kind: "hash-volumes" as const, ...base, force: operation.sync?.force === true };
      return toSources(vpg, step, body);
    }
    case stepNames.shipWanted:
      return toSources(vpg, step, { kind: "ship-wanted", ...base });
    case stepNames.powerOnSource:
      return facts.shutdownAsked
        ? planWhereHeard(vpg, step, facts.connected, (gateway) => powerOnBody(vpg, operationId, gateway))
        : skip("The source had been left alone.");
    case stepNames.closeVolumes: {
      const alone = sourceGatewaysOf(vpg.definition).length === 1;
      const final = ({ gatewayId }: SourceGateway) => alone || gatewayId !== vpg.definition.sourceGatewayId;
      const body = (gateway: SourceGateway): CommandBody => ({
        ...{ kind: "close-volumes", ...base, term: null, final: final(gateway) },
      });
      return source(vpg, step, body, recoveryLimits.closeExpiryMs);
    }
    case stepNames.verifyVolumes: {
      if (operation.move?.verify !== true) return skip("Not asked for.");
      return source(vpg, step, (gateway) => {
        const final = operation.finals[gateway.gatewayId];
        if (final === undefined) throw new Corrupt(`gateway ${gateway.name} has given no FINAL`);
        const { session, sequence } = final;
        const volumes = volumesOf({ vms: [...vmsOfGateway(recovered, gateway.gatewayId)] });
        return {
          ...{ kind: "verify-volumes", ...base, upTo: { session, sequence } },
          volumes: volumes.map(({ volume, vmName, name, sizeBytes, sectorBytes }) => ({
            volume,
            vmName,
            name,
            sizeBytes,
            sectorBytes,
          })),
        };
      });
    }
    case stepNames.openVolumes: {
      const closed = operation.steps[stepNames.closeVolumes] !== undefined;
      if (!closed && operation.resumeId === null) return skip("No volume had been closed.");
      return planWhereHeard(vpg, step, facts.connected, () => ({ kind: "open-volumes", ...base }));
    }
    case stepNames.removeSource: {
      if (operation.move?.source !== "remove") return skip("The source's VMs and disks are kept, as asked.");
      return source(vpg, step, (gateway) => ({ kind: "remove-source", ...base, vms: namesOf(vpg, gateway) }));
    }
    case stepNames.protectVolumes: {
      const { promotedBy } = facts;
      if (promotedBy === null)
        return { kind: "fail", error: "OfferRefused", message: "no committed operation promoted these disks" };
      const volumes = volumesOf(vpg.definition).map(({ volume, vmName, name, sizeBytes, sectorBytes }) => ({
        ...{ volume, vmName, name, sizeBytes, sectorBytes },
      }));
      return recovery(vpg, step, { kind: "protect-volumes", ...base, term: vpg.term, promotedBy, volumes });
    }
    default:
      throw new Corrupt(`${step} is no step that a gateway does`, { step });
  }
}

function toSources(vpg: VpgRecord, step: string, body: CommandBody): CommandPlan {
  const commands = sourceGatewaysOf(vpg.definition).map((gateway) => ({
    name: commandNameOf(vpg.definition, step, gateway),
    gatewayId: gateway.gatewayId,
    body,
    expiresInMs: deltaSyncLimits.commandExpiryMs,
  }));
  return { kind: "commands", commands };
}

function recovery(vpg: VpgRecord, name: string, body: CommandBody): CommandPlan {
  const gatewayId = vpg.definition.recoveryGatewayId;
  if (gatewayId === null) {
    throw new ComputeNotConfigured(`${vpg.definition.name} has no recovery gateway; give it one and start again`);
  }
  return { kind: "commands", commands: [{ name, gatewayId, body, expiresInMs: limits.commandExpiryMs }] };
}

function source(
  { definition }: VpgRecord,
  step: string,
  body: (gateway: SourceGateway) => CommandBody,
  expiresInMs: number = limits.commandExpiryMs,
): CommandPlan {
  const commands = sourceGatewaysOf(definition).map((gateway) => ({
    name: commandNameOf(definition, step, gateway),
    gatewayId: gateway.gatewayId,
    body: body(gateway),
    expiresInMs,
  }));
  return { kind: "commands", commands };
}

/** The greatest position of a checkpoint, and what a volume's own adds where there are several. */
function positions(parts: readonly CheckpointPart[], checkpoint: Position) {
  if (parts.length < 2) return { upTo: { ...checkpoint }, ofVolume: () => ({}) };
  const greatest =
    parts
      .map(({ position }) => position)
      .sort(comparePositions)
      .at(-1) ?? checkpoint;
  const ofVolume = (volume: number): { upTo?: Position } => {
    const part = parts.find(({ volumes }) => volumes.includes(volume));
    if (part === undefined) throw new Corrupt(`checkpoint ${formatPosition(checkpoint)} lacks volume ${volume}`);
    return { upTo: { ...part.position } };
  };
  return { upTo: { ...greatest }, ofVolume };
}

const namesOf = ({ definition }: VpgRecord, { gatewayId }: SourceGateway): string[] =>
  vmsOfGateway(definition, gatewayId).map((vm) => vm.name);

/** A move's must succeed. */
function shutdownOf({ live, move }: Operation): LiveOptions["shutdown"] {
  if (move !== null) return { policy: "graceful", graceMs: move.graceMs };
  return live?.shutdown ?? { policy: "none", graceMs: 0 };
}

/** Design 7: graceful that can't be done fails the operation; an unreachable source under force doesn't. */
function planShutdown(operation: Operation, vpg: VpgRecord, connected: ReadonlySet<Id>): CommandPlan {
  const { policy, graceMs } = shutdownOf(operation);
  if (policy === "none") return skip("The source was left alone, as asked.");
  const gateways = sourceGatewaysOf(vpg.definition);
  const silent = gateways.filter(({ gatewayId }) => !connected.has(gatewayId)).map(({ name }) => name);
  if (silent.length > 0 && policy === "graceful") {
    const message =
      `gateway ${silent.join(", ")} is silent, so the source can't be shut down gracefully; ` +
      (operation.kind === "move" ? "start it, and the move again" : "start again with --shutdown force or none");
    return { kind: "fail", error: "SourceShutdownFailed", message };
  }
  if (silent.length === gateways.length) {
    return skip(`Gateway ${silent.join(", ")} is silent: nothing could be shut down at the source.`);
  }
  const { operationId, vpgId } = operation;
  const base = { kind: "shutdown-source" as const, operationId, vpgId, vpgName: vpg.definition.name, policy, graceMs };
  const commands = gateways
    .filter(({ gatewayId }) => connected.has(gatewayId))
    .map((gateway) => ({
      name: commandNameOf(vpg.definition, stepNames.shutdownSource, gateway),
      gatewayId: gateway.gatewayId,
      body: { ...base, vms: namesOf(vpg, gateway) },
      expiresInMs: graceMs + recoveryLimits.shutdownMarginMs,
    }));
  return { kind: "commands", commands };
}

/** What is silent can't be waited for: the VPG must be free for the next failover. It is opened and powered on when it is heard again. */
function planWhereHeard(
  vpg: VpgRecord,
  step: string,
  connected: ReadonlySet<Id>,
  body: (gateway: SourceGateway) => CommandBody,
): CommandPlan {
  const gateways = sourceGatewaysOf(vpg.definition);
  const there = gateways.filter(({ gatewayId }) => connected.has(gatewayId));
  const left = there.length < gateways.length ? { change: { sourceLeftOff: true } } : {};
  if (there.length === 0) {
    const silent = gateways.map(({ name }) => name).join(", ");
    return { ...skip(`Gateway ${silent} is silent: ${leftOffText}`), ...left };
  }
  const commands = there.map((gateway) => ({
    name: commandNameOf(vpg.definition, step, gateway),
    gatewayId: gateway.gatewayId,
    body: body(gateway),
    expiresInMs: limits.commandExpiryMs,
  }));
  return { kind: "commands", commands, ...left };
}

/** Powers on what the operation's shutdown stopped behind the gateway, whose volumes it opens if the operation had closed them. */
export function powerOnBody(vpg: VpgRecord, operationId: Id, gateway: SourceGateway): CommandBody {
  const { vpgId, definition } = vpg;
  return { kind: "power-on-source", operationId, vpgId, vpgName: definition.name, vms: namesOf(vpg, gateway) };
}

/** What becomes of a source that could not be powered on. */
export const leftOffText = "its VMs are powered on once it is heard again; sooner, a person has to.";

/** Set before anything is attached. */
export function checkpointOf(operation: Operation): string {
  if (operation.checkpointId !== null) return operation.checkpointId;
  throw new Corrupt(`operation ${operation.operationId} has no checkpoint yet`, { operationId: operation.operationId });
}
