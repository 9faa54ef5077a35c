/** Boots and stops the VMs of a recovered operation by the hooks of the gateway's configuration. */
import { CommandFailed } from "#core/errors.ts";
import type { Clock } from "#core/ports.ts";
import { concurrently } from "#core/recovery/concurrently.ts";
import type { VmHooks } from "../config.ts";
import { type HookResult, hookEnvironment, hookOutcome, runHook, vmState } from "../control/hooks.ts";
import { hooksAtOnceMax, stopPollMs } from "./limits.ts";
import type { AttachBody, OperationFolder } from "./operation-folder.ts";

export interface VmHooksOptions {
  /** By VM name. */
  readonly hooks: ReadonlyMap<string, VmHooks>;
  /** Absolute: where hooks run. */
  readonly workingDirectory: string;
  readonly clock: Clock;
}

/** What a hook is told. */
interface HookFacts {
  readonly body: Pick<AttachBody, "vpgName" | "operationId" | "mode" | "checkpointId" | "volumes">;
  /** Volume number → NBD URI. */
  readonly exports: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** An operation as its hooks see it. */
export interface HookOperation extends HookFacts {
  readonly folder: OperationFolder;
}

type Action = "boot" | "shutdown" | "kill" | "status";

export class RecoveredVms {
  readonly #options: VmHooksOptions;

  constructor(options: VmHooksOptions) {
    this.#options = options;
  }

  /**
   * Runs the boot hook of each VM that this operation has not started yet. A marker stands before the hook runs; where it is found again,
   * after a crash or a failed hook, the status hook decides, and without one the boot hook is run again: it should be safe to repeat.
   * Throws `CommandFailed` once all hooks have ended when one failed; a repeated call runs only what is missing.
   */
  async boot(vms: readonly string[], operation: HookOperation): Promise<{ booted: string[]; withoutHook: string[] }> {
    const withoutHook = vms.filter((vm) => this.#options.hooks.get(vm)?.boot === undefined);
    const booted = vms.filter((vm) => !withoutHook.includes(vm));
    await this.#each(booted, (vm) => this.#bootOne(vm, operation));
    return { booted, withoutHook };
  }

  /**
   * Stops each VM that this operation started: by its kill hook, since what it wrote is to be thrown away, or else its shutdown hook; the
   * status hook must then say that it is stopped. A VM with a boot hook and no way to stop it is `CommandFailed`, for two of it may never run.
   */
  async stop(vms: readonly string[], operation: HookOperation): Promise<{ stopped: string[] }> {
    const stopped: string[] = [];
    await this.#each(vms, async (vm) => {
      if ((await operation.folder.bootState(vm)) === undefined) return;
      await this.#stopOne(vm, operation);
      await operation.folder.forgetBoot(vm);
      stopped.push(vm);
    });
    return { stopped: vms.filter((vm) => stopped.includes(vm)) };
  }

  /**
   * For an operation of which nothing is left here: only its VMs' status hooks know whether they run. One that runs is not stopped, since
   * it may be another operation's. Throws `CommandFailed` unless every VM that this gateway could have booted is stopped.
   */
  async assertStopped(vms: readonly string[], facts: HookFacts): Promise<void> {
    await this.#each(vms, async (vm) => {
      if (this.#options.hooks.get(vm)?.boot === undefined) return;
      const state = await this.#status(vm, facts);
      if (state === "stopped") return;
      const lost = `nothing is left here of operation ${facts.body.operationId}, so this gateway can't know whether ${vm} runs`;
      const remedy =
        this.#options.hooks.get(vm)?.status === undefined
          ? `see that it is stopped, then give [hooks.${vm}] status = ["false"]`
          : `its status hook says ${state}: see that it is stopped`;
      throw new CommandFailed(`${lost}; ${remedy}`, { vm });
    });
  }

  async #bootOne(vm: string, operation: HookOperation): Promise<void> {
    const before = await operation.folder.bootState(vm);
    if (before === "started") return;
    if (before === "starting" && this.#options.hooks.get(vm)?.status !== undefined) {
      const state = await this.#status(vm, operation);
      if (state === "running") return operation.folder.recordBoot(vm, "started");
      if (state === "unknown") {
        throw new CommandFailed(`whether ${vm} runs is unknown, by its status hook; a second one must not be booted`, {
          vm,
        });
      }
    }
    await operation.folder.recordBoot(vm, "starting");
    const result = await this.#run(vm, "boot", operation);
    if (result?.exitStatus !== 0 && result !== undefined) {
      throw new CommandFailed(`the boot hook of ${vm} ${hookOutcome(result)}`, { vm });
    }
    await operation.folder.recordBoot(vm, "started");
  }

  async #stopOne(vm: string, operation: HookOperation): Promise<void> {
    const hooks = this.#options.hooks.get(vm);
    if ((await this.#status(vm, operation)) === "stopped") return;
    const action = hooks?.kill === undefined ? "shutdown" : "kill";
    const result = await this.#run(vm, action, operation);
    if (result === undefined) {
      throw new CommandFailed(
        `${vm} was booted by its hook and has none to stop it; stop it by hand, then give [hooks.${vm}] kill = ["true"]`,
        { vm },
      );
    }
    if (hooks?.status !== undefined) return this.#untilStopped(vm, hooks.timeoutMs, operation);
    if (result.exitStatus !== 0) throw new CommandFailed(`the ${action} hook of ${vm} ${hookOutcome(result)}`, { vm });
  }

  async #untilStopped(vm: string, timeoutMs: number, operation: HookOperation): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    for (;;) {
      const state = await this.#status(vm, operation);
      if (state === "stopped") return;
      if (clock.monotonic() >= deadline) {
        throw new CommandFailed(`${vm} was told to stop, but its status hook says ${state} after ${timeoutMs} ms`, {
          vm,
        });
      }
      await clock.sleep(stopPollMs, operation.signal);
    }
  }

  /** "unknown" also when there is no status hook. */
  async #status(vm: string, facts: HookFacts): Promise<"running" | "stopped" | "unknown"> {
    const result = await this.#run(vm, "status", facts);
    return result === undefined ? "unknown" : vmState(result);
  }

  /** Undefined when the VM has no such hook. */
  async #run(vm: string, action: Action, { body, exports, signal }: HookFacts): Promise<HookResult | undefined> {
    const hooks = this.#options.hooks.get(vm);
    const argv = hooks?.[action];
    if (hooks === undefined || argv === undefined) return undefined;
    const { vpgName, operationId, mode, checkpointId, volumes } = body;
    const own = volumes.filter((volume) => volume.vmName === vm);
    const disks = new Map(own.map(({ name, volume }) => [name, exports[String(volume)] ?? ""]));
    const result = await runHook(argv, {
      workingDirectory: this.#options.workingDirectory,
      environment: {
        ...hookEnvironment({ vpgName, vmName: vm, operationId, action, mode, disks }),
        FARSHORE_CHECKPOINT: checkpointId,
      },
      timeoutMs: hooks.timeoutMs,
      signal,
    });
    signal.throwIfAborted();
    return result;
  }

  /** Some at a time; all of them end before the first error is thrown. */
  #each(vms: readonly string[], act: (vm: string) => Promise<void>): Promise<void> {
    const failures: unknown[] = [];
    return concurrently(vms, hooksAtOnceMax, (vm) =>
      act(vm).catch((error: unknown) => {
        failures.push(error);
      }),
    ).then(() => {
      if (failures.length > 0) throw failures[0];
    });
  }
}
