import { z } from "zod";
import { CommandRunning, Corrupt } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { type CommandRecord, commandActions, findCommand, wake } from "#core/protection/commands.ts";
import { findGateway, isConnected } from "#core/protection/gateway-store.ts";
import type { Operation } from "#core/protection/operation.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";
import { changeOperation, getOperation, type OperationChange, type OperationRecord, vpgOf } from "./operation-store.ts";
import { planCommand } from "./plan-command.ts";
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

const commandIdOf = (operation: Operation, step: string): string =>
  `${operation.operationId}.${operation.attempt}.${step}`;

/**
 * Begins a step that a gateway does: its command and the step's record are written together, once. A `token`, when a
 * workflow waits with one, is kept for the gateway's report to wake; when there is nothing to wait for it is answered here.
 * Safe to repeat with another token: then only the token is new.
 */
export async function issueStep(site: Site, operationId: Id, step: string, token?: string): Promise<void> {
  const operation = await changeOperation(site, operationId, (record) => issue(site, record, step, token));
  const known = operation.steps[step];
  const command = isOver(known) ? undefined : await findCommand(site, commandIdOf(operation, step));
  const waiting = command?.state === "pending" || command?.state === "running";
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
  const source = await findGateway(site, vpg.definition.sourceGatewayId);
  const now = site.clock.now();
  // Whatever was asked of the source was asked in the first attempt: later ones only finish what was decided.
  const shutdown = await findCommand(site, commandIdOf({ ...record, attempt: 1 }, stepNames.shutdownSource));
  // After a rebuild there are no commands, and the report's word stands for them.
  const shutdownAsked = shutdown !== undefined || record.sourceWasShutDown;
  const facts = { sourceConnected: isConnected(source, now), shutdownAsked };
  const plan = planCommand(record, vpg, step, facts);
  const phase = phaseOf(record, step);
  switch (plan.kind) {
    case "skip": {
      const end = endedStep(undefined, now, { state: "skipped", result: plan.reason });
      return { change: { phase, ...endStep(record, step, end) } };
    }
    case "fail": {
      const error = { name: plan.error, message: plan.message };
      return { change: { phase, ...endStep(record, step, endedStep(undefined, now, { state: "failed", error })) } };
    }
    case "command": {
      const waiter = { operationId: record.operationId, step };
      const ask = { commandId: commandIdOf(record, step), body: plan.body, expiresInMs: plan.expiresInMs, waiter };
      return {
        change: { phase, tokens, steps: { ...record.steps, [step]: startedStep(now) } },
        actions: commandActions(site, plan.gatewayId, ask),
      };
    }
  }
}

/**
 * Decides by the command's record alone what became of a step, and records that. Throws `CommandRunning` while the gateway
 * is at it, `CommandExpired`, `CommandFailed` or `SourceShutdownFailed` (also when asked again).
 */
export async function checkStep(site: Site, operationId: Id, step: string): Promise<void> {
  const operation = await getOperation(site, operationId);
  const known = operation.steps[step];
  if (isOver(known)) return throwIfFailed(known);
  const command = await findCommand(site, commandIdOf(operation, step));
  if (command === undefined) throw new Corrupt(`step ${step} of ${operationId} has no command`, { operationId, step });
  if (command.state === "pending" || command.state === "running") {
    throw new CommandRunning(`${step} of ${operationId} is under way`, { operationId, step });
  }
  const ended = await changeOperation(site, operationId, (record): OperationChange | undefined => {
    const running = record.steps[step];
    if (isOver(running)) return undefined;
    const { end, change } = settle(record, step, command);
    return { change: { ...change, ...endStep(record, step, endedStep(running, site.clock.now(), end)) } };
  });
  const step_ = ended.steps[step];
  if (step_ !== undefined) throwIfFailed(step_);
}

interface Settled {
  readonly end: Partial<Operation["steps"][string]>;
  readonly change?: Partial<Operation>;
}

const done = (result: string, change: Partial<Operation> = {}): Settled => ({ end: { state: "done", result }, change });
const failed = (name: string, message: string): Settled => ({ end: { state: "failed", error: { name, message } } });

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
  // A source that never confirmed a shutdown and is silent now was most likely gone all the time.
  if (step === stepNames.powerOnSource && !operation.sourceWasShutDown) {
    return done(`The source gateway gave ${waited}; it never confirmed that it had shut anything down.`);
  }
  return failed("CommandExpired", `${step}: the gateway gave ${waited}`);
}

const attachResult = z.looseObject({ exports: z.record(z.string(), z.string()) });
const bootResult = z.looseObject({ booted: z.array(z.string()), withoutHook: z.array(z.string()) });
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
    case stepNames.stopVms:
      return done("The recovered VMs are stopped.");
    case stepNames.detachVolumes:
      return done("The exports are closed.");
    default:
      return done("The source's VMs are powered on.");
  }
}
