import { z } from "zod";
import { settleSync } from "#core/delta-sync/figures.ts";
import { CommandRunning, Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { TableAction } from "#core/ports.ts";
import { checkpointParts } from "#core/protection/checkpoints.ts";
import { closedResultSchema, type Final, verifyResultSchema } from "#core/protection/command.ts";
import { type CommandRecord, commandActions, findCommand, settleExpiry, wake } from "#core/protection/commands.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { findGateway, isConnected } from "#core/protection/gateway-store.ts";
import type { Operation } from "#core/protection/operation.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import {
  changeOperation,
  getOperation,
  type OperationChange,
  type OperationRecord,
  recoveredOf,
  vpgOf,
} from "./operation-store.ts";
import {
  checkpointOf,
  commandNames,
  followUp,
  followUpName,
  leftOffText,
  type PlanFacts,
  type PlannedCommand,
  planCommand,
} from "./plan-command.ts";
import { promoterOf } from "./promoter.ts";
import { assertListened } from "./site-began.ts";
import {
  assertStepFits,
  bootGroupOf,
  endedStep,
  endStep,
  isOver,
  phaseOf,
  startedStep,
  stepNames,
  throwIfFailed,
} from "./steps.ts";

/**
 * Each attempt and each try at another checkpoint gives its commands anew, and so does going on with a forgotten operation: a gateway
 * may still keep the answer to a command of before, and would give it to one of the same id.
 */
export function commandIdOf({ operationId, resumeId, attempt, retargets }: Operation, name: string): string {
  const last = retargets.at(-1);
  const again = resumeId === null ? "" : `${resumeId}.`;
  return `${operationId}.${again}${attempt}.${last === undefined ? "" : `try-${last.number}.`}${name}`;
}

/** The commands that the step gave, and the one behind them if it gave that, by name. */
async function commandsOf(
  site: Site,
  operation: Operation,
  { definition }: VpgRecord,
  step: string,
): Promise<ReadonlyMap<string, CommandRecord>> {
  const names = [...commandNames(definition, step), followUpName(definition, step) ?? step];
  const found = new Map<string, CommandRecord>();
  for (const name of new Set(names)) {
    const command = await findCommand(site, commandIdOf(operation, name));
    if (command !== undefined) found.set(name, command);
  }
  return found;
}

const isWaiting = ({ state }: CommandRecord): boolean => state === "pending" || state === "running";

/**
 * Begins a step that gateways do: their commands and the step's record are written together, once. A `token`, when a
 * workflow waits with one, is kept for the gateway's report to wake; when there is nothing to wait for it is answered here.
 * Safe to repeat with another token: then only the token is new.
 */
export async function issueStep(site: Site, operationId: Id, step: string, token?: string): Promise<void> {
  const operation = await changeOperation(site, operationId, (record) => issue(site, record, step, token));
  const known = operation.steps[step];
  const commands = isOver(known)
    ? []
    : (await commandsOf(site, operation, await vpgOf(site, operation), step)).values();
  const waiting = [...commands].some(isWaiting);
  if (!waiting && token !== undefined) await wake(() => site.workflows.succeed(token, "{}"));
}

async function issue(
  site: Site,
  record: OperationRecord,
  step: string,
  token: string | undefined,
): Promise<OperationChange | undefined> {
  const known = record.steps[step];
  if (isOver(known)) return undefined;
  assertStepFits(record, step);
  const tokens = token === undefined ? record.tokens : { ...record.tokens, [step]: token };
  if (known !== undefined) return { change: { tokens } };
  const vpg = await vpgOf(site, record);
  const now = site.clock.now();
  const facts = await planFacts(site, record, vpg, step);
  const plan = planCommand(record, vpg, step, facts);
  const sources = sourceGatewaysOf(vpg.definition);
  const silent = sources.filter(({ gatewayId }) => !facts.connected.has(gatewayId));
  const ifHeard = planCommand(record, vpg, step, {
    ...facts,
    connected: new Set(sources.map(({ gatewayId }) => gatewayId)),
  });
  // Only if it makes a difference is anybody waited for.
  if (JSON.stringify(plan) !== JSON.stringify(ifHeard)) await assertListened(site, silent);
  const phase = phaseOf(record, step);
  switch (plan.kind) {
    case "skip": {
      const end = endedStep(undefined, now, { state: "skipped", result: plan.reason });
      return { change: { ...plan.change, phase, ...endStep(record, step, end) } };
    }
    case "fail": {
      const error = { name: plan.error, message: plan.message };
      return { change: { phase, ...endStep(record, step, endedStep(undefined, now, { state: "failed", error })) } };
    }
    case "commands":
      return {
        change: { ...plan.change, phase, tokens, steps: { ...record.steps, [step]: startedStep(now) } },
        actions: plan.commands.flatMap((planned) => actionsOf(site, record, step, planned)),
      };
  }
}

function actionsOf(site: Site, operation: Operation, step: string, planned: PlannedCommand): readonly TableAction[] {
  const { name, gatewayId, body, expiresInMs } = planned;
  const waiter = { operationId: operation.operationId, step };
  return commandActions(site, gatewayId, { commandId: commandIdOf(operation, name), body, expiresInMs, waiter });
}

async function planFacts(site: Site, operation: OperationRecord, vpg: VpgRecord, step: string): Promise<PlanFacts> {
  const now = site.clock.now();
  const connected = new Set<Id>();
  for (const { gatewayId } of sourceGatewaysOf(vpg.definition)) {
    if (isConnected(await findGateway(site, gatewayId), now)) connected.add(gatewayId);
  }
  // Whatever was asked of the source was asked in the first attempt and try: later ones leave it alone.
  const shutdowns = await commandsOf(site, { ...operation, attempt: 1, retargets: [] }, vpg, stepNames.shutdownSource);
  const attaches = step === stepNames.attachVolumes && operation.checkpointId !== null;
  const parts = attaches ? await checkpointParts(site, vpg, checkpointOf(operation)) : [];
  const recovered = await recoveredOf(site, operation, vpg);
  // After a rebuild there are no commands, and the report's word stands for them.
  const promotedBy = step === stepNames.protectVolumes ? await promoterOf(site, vpg) : null;
  return { promotedBy, connected, shutdownAsked: shutdowns.size > 0 || operation.sourceWasShutDown, parts, recovered };
}

/**
 * Decides by the commands' records alone what became of a step, and records that. Throws `CommandRunning` while a gateway
 * is at it, or before any is asked (the site was away while its machine's wait ran out), `CommandExpired`, `CommandFailed` or `SourceShutdownFailed` (also when asked again).
 */
export async function checkStep(site: Site, operationId: Id, step: string): Promise<void> {
  const operation = await getOperation(site, operationId);
  const known = operation.steps[step];
  if (isOver(known)) return throwIfFailed(known);
  if (known === undefined) throw new CommandRunning(`${step} of ${operationId} is to begin`, { operationId, step });
  const vpg = await vpgOf(site, operation);
  const commands = await commandsOf(site, operation, vpg, step);
  if (commands.size === 0) throw new Corrupt(`step ${step} of ${operationId} has no command`, { operationId, step });
  const names = commandNames(vpg.definition, step);
  const last = followUp(operation, vpg, step, Object.values(finalsOf(commands)));
  if (last !== undefined && names.every((name) => commands.get(name)?.state === "done") && !commands.has(last.name)) {
    await changeOperation(site, operationId, async (record) => {
      const given = await findCommand(site, commandIdOf(record, last.name));
      return given === undefined ? { change: {}, actions: actionsOf(site, record, step, last) } : undefined;
    });
    throw stillRunning(operationId, step);
  }
  if ([...commands.values()].some(isWaiting)) throw stillRunning(operationId, step);
  for (const command of commands.values()) {
    if (command.state === "expired" && !(await settleExpiry(site, command))) throw stillRunning(operationId, step);
  }
  const ended = await changeOperation(site, operationId, (record): OperationChange | undefined => {
    const running = record.steps[step];
    if (isOver(running)) return undefined;
    // A shutdown's last checkpoint is a kindness; a move without its coordinator's FINAL is none.
    const all = last !== undefined && step === stepNames.closeVolumes ? [...names, last.name] : names;
    const { end, change } = settleAll(record, step, all, commands);
    return { change: { ...change, ...endStep(record, step, endedStep(running, site.clock.now(), end)) } };
  });
  const step_ = ended.steps[step];
  if (step_ !== undefined) throwIfFailed(step_);
}

const stillRunning = (operationId: Id, step: string): CommandRunning =>
  new CommandRunning(`${step} of ${operationId} is under way`, { operationId, step });

interface Settled {
  readonly end: Partial<Operation["steps"][string]>;
  readonly change?: Partial<Operation>;
}

const done = (result: string, change: Partial<Operation> = {}): Settled => ({ end: { state: "done", result }, change });
const failed = (name: string, message: string): Settled => ({ end: { state: "failed", error: { name, message } } });

/** One command's end is the step's; of several the first failure is, and the source was shut down only if all of it was. */
function settleAll(
  operation: Operation,
  step: string,
  names: readonly string[],
  commands: ReadonlyMap<string, CommandRecord>,
): Settled {
  const settled = names.flatMap((name) => {
    const command = commands.get(name);
    return command === undefined ? [] : settle(operation, step, command);
  });
  const failure = settled.find(({ end }) => end.state === "failed");
  const [first] = settled;
  if (failure !== undefined || first === undefined) return failure ?? failed("CommandFailed", "no gateway was asked");
  if (step === stepNames.hashVolumes || step === stepNames.shipWanted) {
    const sync = settleSync(
      operation,
      step,
      [...commands.values()].map(({ result }) => result ?? {}),
    );
    if (sync === undefined) return failed("CommandFailed", `the gateway did not say what came of ${step}`);
    return done(sync.result, sync.change);
  }
  const silent = names.length - settled.length;
  const results = new Set(settled.map(({ end }) => end.result ?? ""));
  if (silent > 0) {
    const then = undoAtSource.includes(step) ? leftOffText : "nothing could be shut down there.";
    results.add(`${silent} of ${names.length} source gateways silent: ${then}`);
  }
  const isShutDown = ({ change }: Settled): boolean => change?.sourceWasShutDown === true;
  const all = silent === 0 && settled.every(isShutDown);
  const shutDown = settled.some(isShutDown) ? { sourceWasShutDown: all } : {};
  const leftOff = settled.some(({ change }) => change?.sourceLeftOff === true) ? { sourceLeftOff: true } : {};
  const closed = step === stepNames.closeVolumes ? { finals: finalsOf(commands) } : {};
  return done([...results].join(" "), { ...first.change, ...shutDown, ...leftOff, ...closed });
}

/** What is not waited for at a silent source. */
const undoAtSource: readonly string[] = [stepNames.openVolumes, stepNames.powerOnSource];

function settle(operation: Operation, step: string, command: CommandRecord): Settled {
  if (command.state === "done") return settleDone(operation, step, command.result ?? {});
  if (command.state === "failed") {
    const { name, message } = command.error ?? { name: "CommandFailed", message: "" };
    const text = `the gateway could not ${step}: ${name}: ${message}`;
    return failed(step === stepNames.shutdownSource ? "SourceShutdownFailed" : "CommandFailed", text);
  }
  const waited = `no answer within ${formatDuration(command.lifeMs)}`;
  if (step === stepNames.shutdownSource) {
    if (operation.live?.shutdown.policy === "force") return done(`The source gateway gave ${waited}; went on without.`);
    return failed("SourceShutdownFailed", `the source gateway gave ${waited}`);
  }
  if (undoAtSource.includes(step)) {
    return done(`The source gateway gave ${waited}: ${leftOffText}`, { sourceLeftOff: true });
  }
  return failed("CommandExpired", `${step}: the gateway gave ${waited}`);
}

/** What close-volumes answered, by the gateway's id. */
function finalsOf(commands: ReadonlyMap<string, CommandRecord>): Record<string, Final> {
  const finals: Record<string, Final> = {};
  for (const { gatewayId, result } of commands.values()) {
    const parsed = closedResultSchema.safeParse(result);
    if (parsed.success && parsed.data.final !== null) finals[gatewayId] = parsed.data.final;
  }
  return finals;
}

const attachResult = z.looseObject({ exports: z.record(z.string(), z.string()) });
const bootResult = z.looseObject({ booted: z.array(z.string()), withoutHook: z.array(z.string()) });
const removeResult = z.looseObject({ removed: z.array(z.string()), withoutHook: z.array(z.string()) });
const powerOnResult = z.object({ poweredOn: z.array(z.string()) });
const promoteResult = z.looseObject({ bytes: z.int() });

function settleDone(operation: Operation, step: string, result: unknown): Settled {
  if (bootGroupOf(step) !== undefined) {
    const parsed = bootResult.safeParse(result);
    const { booted, withoutHook } = parsed.success ? parsed.data : { booted: [], withoutHook: [] };
    const hint = withoutHook.length === 0 ? "" : `; without a boot hook: ${withoutHook.join(", ")}`;
    const text = `Booted ${booted.length === 0 ? "none" : booted.join(", ")}${hint}.`;
    return done(text, { bootGroupsDone: operation.bootGroupsDone + 1 });
  }
  switch (step) {
    case stepNames.attachVolumes: {
      const parsed = attachResult.safeParse(result);
      if (!parsed.success) return failed("CommandFailed", "the gateway did not say where the volumes are");
      const { exports } = parsed.data;
      return done(`${Object.keys(exports).length} volumes are readable.`, { exports });
    }
    case stepNames.shutdownSource:
      return done("The source's VMs are shut down.", { sourceWasShutDown: true });
    case stepNames.promoteVolumes: {
      const parsed = promoteResult.safeParse(result);
      return done(parsed.success ? `${parsed.data.bytes} bytes are on local disks.` : "All data is on local disks.");
    }
    case stepNames.closeVolumes:
      return done("The source's volumes are closed, and all that was written is at this site.");
    case stepNames.verifyVolumes: {
      const parsed = verifyResultSchema.safeParse(result);
      if (!parsed.success) return failed("CommandFailed", "the gateway did not say what it found");
      const { hashedBytes, differingBytes } = parsed.data;
      if (differingBytes > 0) {
        const text = `${differingBytes} of ${hashedBytes} bytes of the closed disks are not as the journal has them`;
        return failed("FinalNotProved", text);
      }
      return done(`${hashedBytes} bytes of the closed disks are as the journal has them.`);
    }
    case stepNames.openVolumes:
      return done("The source's volumes take writes again.");
    case stepNames.removeSource: {
      const parsed = removeResult.safeParse(result);
      const { removed, withoutHook } = parsed.success ? parsed.data : { removed: [], withoutHook: [] };
      const kept = withoutHook.length === 0 ? "" : `; kept, without a remove hook: ${withoutHook.join(", ")}`;
      return done(`Removed ${removed.length === 0 ? "none" : removed.join(", ")}${kept}.`);
    }
    case stepNames.protectVolumes:
      return done("The gateway captures the disks and compares them.");
    case stepNames.stopVms:
    case stepNames.retargetStopVms:
      return done("The recovered VMs are stopped.");
    case stepNames.detachVolumes:
    case stepNames.retargetDetachVolumes:
      return done("The exports are closed.");
    default: {
      const parsed = powerOnResult.safeParse(result);
      const none = parsed.success && parsed.data.poweredOn.length === 0;
      return done(none ? "No VM of the source had been shut down." : "The source's VMs are powered on.");
    }
  }
}
