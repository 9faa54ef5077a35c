import { z } from "zod";
import { CommandFailed, InvalidInput, SourceShutdownFailed } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { formatPosition } from "#core/journal/position.ts";
import type { Clock, Log } from "#core/ports.ts";
import type { SourceBarrier } from "../barrier/source-barrier.ts";
import type { VmHooks } from "../config.ts";
import type { CommandContext, CommandHandler, CommandHandlers } from "../control/handlers.ts";
import { type HookResult, hookEnvironment, hookOutcome, vmState } from "../control/hooks.ts";
import { withTimeout } from "../control/time-out.ts";
import { drainMsDefault, hookStatusPollMs } from "../limits.ts";
import type { DiskScrubber } from "../scrub/disk-scrub.ts";
import type { StateStore } from "../state/state-directory.ts";
import { type SyncCommandParts, syncHandlers } from "../sync/sync-commands.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { Closing } from "./closing.ts";
import { durable } from "./durable.ts";
import type { SourceHost } from "./source-host.ts";

export interface SourceCommandParts {
  readonly vpgName: string;
  readonly vmNames: () => readonly string[];
  readonly urisOf: (vm: string) => ReadonlyMap<string, string>;
  readonly vpgId: () => string | null;
  readonly hooks: ReadonlyMap<string, VmHooks>;
  readonly directory: string;
  readonly state: StateStore;
  readonly sessionLog: SessionLog;
  readonly barrier: Pick<SourceBarrier, "asked" | "makesCheckpoints">;
  readonly clock: Clock;
  readonly log: Log;
  readonly sync: SyncCommandParts["sync"];
  readonly scrub: Pick<DiskScrubber, "ask">;
  readonly runHook: SourceHost["runHook"];
  readonly flushDisks: () => Promise<void>;
  /** Takes write access from the exports and drops their clients. */
  readonly hold: () => Promise<void>;
  readonly release: () => Promise<void>;
  readonly closing: Pick<Closing, "close" | "open">;
  /** The operation that closed the volumes, if they are. */
  readonly closedBy: () => string | undefined;
  readonly verify: CommandHandler<"verify-volumes">;
}

/** What a shutdown did, for the power-on of a rollback: `shutdown-<operation>` in the state directory. */
const recordSchema = z.strictObject({
  vpgId: idSchema,
  /** VMs that ran, and that we asked to stop or cut off. */
  stopped: z.array(z.string()),
  /** The exports were made read-only. */
  held: z.boolean(),
});
type ShutdownRecord = z.infer<typeof recordSchema>;
const recordName = (operationId: string): string => `shutdown-${operationId}`;

/** True when a forced shutdown of the VPG, not undone since, took write access from its exports: a restart doesn't give it back. */
export async function heldByShutdown(state: StateStore, vpgId: Id): Promise<boolean> {
  for (const name of await state.list("shutdown-")) {
    const record = await state.read(name, recordSchema);
    if (record?.held === true && record.vpgId === vpgId) return true;
  }
  return false;
}

/** Other disks are the VPG's now: what a shutdown did to those before concerns nobody any more. */
export async function forgetShutdowns(state: StateStore, vpgId: Id): Promise<void> {
  for (const name of await state.list("shutdown-")) {
    if ((await state.read(name, recordSchema))?.vpgId === vpgId) await state.remove(name);
  }
}

type Action = "boot" | "shutdown" | "kill" | "status" | "remove";

/** The commands that the capture half serves. */
export function sourceHandlers(parts: SourceCommandParts): CommandHandlers {
  // A power-on that came while a shutdown runs, because the site gave that up, is done when it is over.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(act, act);
    last = turn;
    return turn;
  };
  return {
    ...syncHandlers(parts),
    "scrub-volumes": async (body) => {
      checkVpg(parts, body.vpgId);
      parts.scrub.ask();
      return {};
    },
    "tag-checkpoint": async (body, context) => {
      checkVpg(parts, body.vpgId);
      const { barrier, sessionLog } = parts;
      const position = barrier.makesCheckpoints
        ? await barrier.asked(body.tag, context.signal)
        : sessionLog.tag(body.tag);
      await durable(parts.sessionLog, position, context.signal);
      return { checkpointId: formatPosition(position) };
    },
    "shutdown-source": async (body, context) => {
      checkVpg(parts, body.vpgId);
      return await inTurn(() => new SourceShutdown(parts, body, context).run());
    },
    "close-volumes": async (body, context) => {
      checkVpg(parts, body.vpgId);
      return await inTurn(() => parts.closing.close(body, context));
    },
    "open-volumes": async (body, context) => {
      checkVpg(parts, body.vpgId);
      return await inTurn(() => parts.closing.open(body, context));
    },
    "verify-volumes": async (body, context) => {
      checkVpg(parts, body.vpgId);
      requireClosed(parts);
      return await parts.verify(body, context);
    },
    "remove-source": async (body, context) => {
      checkVpg(parts, body.vpgId);
      requireClosed(parts);
      return await inTurn(() => removeSource(parts, body, context.signal));
    },
    "power-on-source": async (body, context) => {
      checkVpg(parts, body.vpgId);
      return await inTurn(() => powerOnSource(parts, body, context));
    },
  };
}

async function powerOnSource(
  parts: SourceCommandParts,
  body: { readonly operationId: Id; readonly vms: readonly string[] },
  context: CommandContext,
): Promise<Record<string, unknown>> {
  if (parts.closedBy() === body.operationId) await parts.closing.open(body, context);
  const name = recordName(body.operationId);
  const record = await parts.state.read(name, recordSchema);
  if (record === undefined) return { poweredOn: [] };
  if (parts.closedBy() !== undefined) {
    throw new CommandFailed(`the volumes of ${parts.vpgName} are closed: its VMs could not write`);
  }
  if (record.held) {
    await parts.state.write(name, { ...record, held: false });
    await parts.release();
  }
  const wanted = record.stopped.filter((vm) => body.vms.includes(vm));
  for (const vmName of wanted) await powerOn(parts, vmName, body.operationId, context.signal);
  await parts.state.remove(name);
  return { poweredOn: wanted };
}

function requireClosed(parts: SourceCommandParts): void {
  if (parts.closedBy() === undefined) throw new CommandFailed(`the volumes of ${parts.vpgName} are not closed`);
}

/** Only what a VM's own remove hook does is ever removed, and only of a VM that does not run. */
async function removeSource(
  parts: SourceCommandParts,
  body: { readonly operationId: string; readonly vms: readonly string[] },
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const removed: string[] = [];
  const withoutHook: string[] = [];
  for (const vmName of body.vms) {
    if (parts.hooks.get(vmName)?.remove === undefined) {
      withoutHook.push(vmName);
      continue;
    }
    const run = hookRunner(parts, vmName, body.operationId, signal);
    const state = await run("status");
    if (state !== undefined && vmState(state) === "running") {
      throw new CommandFailed(`VM ${vmName} runs at the source: it was powered on by somebody, and is not removed`, {
        vmName,
      });
    }
    const result = await run("remove");
    if (result !== undefined && result.exitStatus !== 0) {
      throw new CommandFailed(`the remove hook of VM ${vmName} ${hookOutcome(result)}`, { vmName });
    }
    removed.push(vmName);
  }
  return { removed, withoutHook };
}

async function powerOn(
  parts: SourceCommandParts,
  vmName: string,
  operationId: string,
  signal: AbortSignal,
): Promise<void> {
  const run = hookRunner(parts, vmName, operationId, signal);
  const state = await run("status");
  if (state !== undefined && vmState(state) === "running") return;
  const result = await run("boot");
  if (result === undefined) {
    throw new CommandFailed(`VM ${vmName} was shut down by this operation and has no boot hook: power it on by hand`, {
      vmName,
    });
  }
  if (result.exitStatus !== 0) {
    throw new CommandFailed(`the boot hook of VM ${vmName} ${hookOutcome(result)}`, { vmName });
  }
}

interface ShutdownBody {
  readonly operationId: string;
  readonly vpgId: Id;
  readonly policy: "graceful" | "force";
  readonly graceMs: number;
  readonly vms: readonly string[];
}

/** One shutdown-source command. */
class SourceShutdown {
  readonly #parts: SourceCommandParts;
  readonly #body: ShutdownBody;
  readonly #context: CommandContext;
  #record: ShutdownRecord;
  readonly #killed: string[] = [];
  readonly #withoutHook: string[] = [];

  constructor(parts: SourceCommandParts, body: ShutdownBody, context: CommandContext) {
    this.#parts = parts;
    this.#body = body;
    this.#context = context;
    this.#record = { vpgId: body.vpgId, stopped: [], held: false };
  }

  async run(): Promise<Record<string, unknown>> {
    const { parts, body } = { parts: this.#parts, body: this.#body };
    const unknown = body.vms.filter((vm) => !parts.vmNames().includes(vm));
    if (unknown.length > 0) throw new InvalidInput(`this gateway has no VM ${unknown.join(", ")}`);
    this.#record = (await parts.state.read(recordName(body.operationId), recordSchema)) ?? this.#record;
    if (body.policy === "graceful") this.#requireHooks();
    let done = 0;
    this.#context.progress(done, body.vms.length, "VMs");
    // The VMs have one grace, not one after the other.
    const deadline = parts.clock.monotonic() + body.graceMs;
    const outcomes = await Promise.allSettled(
      body.vms.map(async (vmName) => {
        await this.#stopVm(vmName, deadline);
        done += 1;
        this.#context.progress(done, body.vms.length, "VMs");
      }),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined && body.policy === "graceful") throw failed.reason;
    if (failed !== undefined) parts.log.warn("source.hook-failed", { error: failed.reason });
    if (body.policy === "force") {
      await this.#remember({ held: true });
      await parts.hold();
    }
    return {
      stopped: this.#record.stopped,
      killed: this.#killed,
      withoutHook: this.#withoutHook,
      ...(await this.#finish()),
    };
  }

  #requireHooks(): void {
    const missing = this.#body.vms.filter((vm) => {
      const hooks = this.#parts.hooks.get(vm);
      return hooks?.shutdown === undefined || hooks.status === undefined;
    });
    if (missing.length > 0) {
      throw new SourceShutdownFailed(
        `VM ${missing.join(", ")} has no shutdown and status hooks in the gateway's configuration: add them, or fail over with --shutdown force or none`,
        { vms: missing.join(",") },
      );
    }
  }

  async #stopVm(vmName: string, deadline: number): Promise<void> {
    const run = hookRunner(this.#parts, vmName, this.#body.operationId, this.#context.signal);
    const hooks = this.#parts.hooks.get(vmName);
    const stopped = async (): Promise<boolean> => {
      const state = await run("status");
      return state !== undefined && vmState(state) === "stopped";
    };
    if (await stopped()) return;
    if (hooks?.shutdown === undefined && hooks?.kill === undefined) {
      this.#withoutHook.push(vmName);
      return;
    }
    await this.#remember({ stopped: [...new Set([...this.#record.stopped, vmName])] });
    const left = (): number => Math.max(0, deadline - this.#parts.clock.monotonic());
    let trouble = "it still runs";
    if (left() > 0 && hooks.shutdown !== undefined) {
      const result = await run("shutdown", left());
      if (result !== undefined && result.exitStatus !== 0) trouble = `its shutdown hook ${hookOutcome(result)}`;
    }
    while (hooks.status !== undefined) {
      if (await stopped()) return;
      if (left() === 0) break;
      await this.#parts.clock.sleep(Math.min(hookStatusPollMs, left()), this.#context.signal);
    }
    if (this.#body.policy === "graceful") {
      throw new SourceShutdownFailed(
        `VM ${vmName} did not stop within ${Math.round(this.#body.graceMs / 1000)} s: ${trouble}; fail over with --shutdown force or none, or with a longer --grace`,
        { vmName },
      );
    }
    if ((await run("kill")) !== undefined) this.#killed.push(vmName);
  }

  /** The last checkpoint of the stopped VMs, if the link is up, and the last position in any case: the lost tail is counted from it. */
  async #finish(): Promise<Record<string, unknown>> {
    const { sessionLog, log, flushDisks } = this.#parts;
    try {
      await flushDisks();
    } catch (error) {
      log.error("disk.flush-failed", { error });
    }
    sessionLog.flush();
    // Where barriers make the checkpoints, a flush leaves the cut to the next hold.
    sessionLog.cut();
    const position = sessionLog.lastPosition;
    if (position === undefined) return { lastPosition: null, durable: false };
    const { clock } = this.#parts;
    try {
      const wait = (signal: AbortSignal): Promise<void> => durable(sessionLog, position, signal);
      await withTimeout(clock, drainMsDefault, wait, this.#context.signal);
      return { lastPosition: position, durable: true };
    } catch (error) {
      this.#context.signal.throwIfAborted();
      log.warn("source.last-checkpoint-not-durable", { error });
      return { lastPosition: position, durable: false };
    }
  }

  async #remember(changes: Partial<ShutdownRecord>): Promise<void> {
    this.#record = { ...this.#record, ...changes };
    await this.#parts.state.write(recordName(this.#body.operationId), this.#record);
  }
}

type RunAction = (action: Action, timeoutMs?: number) => Promise<HookResult | undefined>;

function hookRunner(parts: SourceCommandParts, vmName: string, operationId: string, signal: AbortSignal): RunAction {
  const hooks = parts.hooks.get(vmName);
  return (action, timeoutMs) => {
    const argv = hooks?.[action];
    if (hooks === undefined || argv === undefined) return Promise.resolve(undefined);
    return parts.runHook(argv, {
      workingDirectory: parts.directory,
      environment: hookEnvironment({
        ...{ vpgName: parts.vpgName, vmName, operationId, action },
        ...{ mode: "source", disks: parts.urisOf(vmName) },
      }),
      timeoutMs: Math.min(timeoutMs ?? hooks.timeoutMs, hooks.timeoutMs),
      signal,
    });
  };
}

function checkVpg(parts: SourceCommandParts, vpgId: string): void {
  if (parts.vpgId() !== vpgId) throw new InvalidInput(`this gateway captures ${parts.vpgName}, not VPG ${vpgId}`);
}
