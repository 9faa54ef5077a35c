import { z } from "zod";
import { CommandFailed, FarshoreError, InvalidInput } from "#core/errors.ts";
import type { Clock, Log } from "#core/ports.ts";
import {
  type Command,
  type CommandBody,
  type CommandReport,
  commandReportSchema,
  commandSchema,
  unhurriedKinds,
} from "#core/protection/command.ts";
import { busyHeartbeatMs, commandsAtOnceMax } from "../limits.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { CommandContext, CommandHandlers } from "./handlers.ts";
import type { SiteClient } from "./site-client.ts";

/** `<prefix><id>` in the state directory: an answer is the same after a restart. */
const recordSchema = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("started") }),
  z.strictObject({ state: z.literal("ended"), report: commandReportSchema }),
]);
type CommandRecord = z.infer<typeof recordSchema>;

/** Commands that would do something a second time: after a restart in their midst they fail, and the operator asks again. */
const notRepeatable: ReadonlySet<CommandBody["kind"]> = new Set(["tag-checkpoint"]);

/** Refusals of a report that will not change: the site has no such command, or waits for it no more. */
const unwanted: ReadonlySet<string> = new Set([
  "NotFound",
  "CommandExpired",
  "TaskTimedOut",
  "InvalidInput",
  "Forbidden",
  "ConditionFailed",
]);

interface Held {
  record: CommandRecord;
  /** Begun in this life, and one of `commandsAtOnceMax`. */
  counted: boolean;
  running: boolean;
  /** Of an unhurried one that runs: aborted when its site asks for it no more. */
  unasked?: AbortController;
  /** Heartbeat number at which the site took the answer; undefined before. */
  takenAt: number | undefined;
  reporting: boolean;
}

/**
 * Runs the commands that heartbeats bring: each at most once at a time. A result is durable before it is reported, is reported until
 * the site takes it, and is forgotten when a later heartbeat shows that the site asks no more.
 */
export class CommandRunner {
  readonly #handlers: CommandHandlers;
  readonly #state: StateStore;
  readonly #prefix: string;
  readonly #site: CommandRunnerOptions["site"];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  readonly #work = new Set<Promise<void>>();
  #heartbeat = 0;

  private constructor(options: CommandRunnerOptions) {
    this.#handlers = options.handlers;
    this.#state = options.state;
    this.#prefix = options.prefix;
    this.#site = options.site;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** With what the last life left. */
  static async load(options: CommandRunnerOptions): Promise<CommandRunner> {
    const runner = new CommandRunner(options);
    for (const name of await options.state.list(options.prefix)) {
      const record = await options.state.read(name, recordSchema);
      if (record === undefined) continue;
      runner.#held.set(name.slice(options.prefix.length), {
        record,
        counted: false,
        running: false,
        takenAt: undefined,
        reporting: false,
      });
    }
    return runner;
  }

  /** A command runs, or an answer waits to be taken. */
  get busy(): boolean {
    return [...this.#held.values()].some(
      (held) => held.running || (held.record.state === "ended" && held.takenAt === undefined),
    );
  }

  /** The commands of an answer to heartbeat number `heartbeat`, counted from 1; unparsed, since a newer site may have newer ones. None begins after the stop. */
  received(commands: readonly unknown[], heartbeat: number): void {
    if (this.#stop.signal.aborted) return;
    this.#heartbeat = heartbeat;
    const asked = new Set<string>();
    for (const raw of commands) {
      const parsed = commandSchema.safeParse(raw);
      const commandId = parsed.success ? parsed.data.commandId : idOf(raw);
      if (commandId === undefined) {
        this.#log.warn("command.unreadable", { error: parsed.error });
        continue;
      }
      asked.add(commandId);
      if (this.#held.get(commandId)?.running === true) continue;
      if (this.#held.get(commandId)?.record.state === "ended") this.#inBackground(() => this.#report(commandId));
      else if (!parsed.success) this.#inBackground(() => this.#refuse(commandId));
      else if (unhurriedKinds.has(parsed.data.body.kind) || this.#running < commandsAtOnceMax)
        this.#inBackground(() => this.#run(parsed.data));
    }
    for (const [commandId, held] of this.#held) {
      if (!asked.has(commandId)) held.unasked?.abort(new CommandFailed("the site asks for it no more"));
      const over = held.takenAt !== undefined && held.takenAt < heartbeat && !asked.has(commandId);
      if (!over || held.running || held.reporting) continue;
      this.#inBackground(() => this.#forget(commandId));
    }
  }

  /** Aborts what runs and waits for it. Its commands come again to the next life. */
  async close(): Promise<void> {
    this.#stop.abort(new CommandFailed("the gateway stops"));
    await Promise.allSettled(this.#work);
  }

  #forget(commandId: string): Promise<void> {
    this.#held.delete(commandId);
    return this.#state.remove(`${this.#prefix}${commandId}`);
  }

  get #running(): number {
    return [...this.#held.values()].filter((held) => held.running && held.counted).length;
  }

  #inBackground(work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#log.error("command.trouble", { error });
      })
      .finally(() => this.#work.delete(done));
    this.#work.add(done);
  }

  async #run(command: Command): Promise<void> {
    const { commandId, body } = command;
    const before = this.#held.get(commandId);
    const unhurried = unhurriedKinds.has(body.kind);
    const unasked = new AbortController();
    const held: Held = {
      record: { state: "started" },
      counted: !unhurried,
      running: true,
      ...(unhurried ? { unasked } : {}),
      takenAt: undefined,
      reporting: false,
    };
    this.#held.set(commandId, held);
    try {
      if (before === undefined) await this.#state.write(`${this.#prefix}${commandId}`, held.record);
      this.#log.info("command.started", { commandId, kind: body.kind });
      const signal = AbortSignal.any([this.#stop.signal, unasked.signal]);
      const report = await this.#outcome(command, before !== undefined, signal);
      if (report === undefined) {
        if (unasked.signal.aborted) await this.#forget(commandId);
        return;
      }
      held.record = { state: "ended", report };
      await this.#state.write(`${this.#prefix}${commandId}`, held.record);
      this.#log.info("command.ended", { commandId, kind: body.kind, report });
    } finally {
      held.running = false;
    }
    await this.#report(commandId);
  }

  /** Undefined when the signal came first, as the gateway's stop brings it: then there is no outcome. */
  async #outcome(command: Command, again: boolean, signal: AbortSignal): Promise<CommandReport | undefined> {
    if (again && notRepeatable.has(command.body.kind)) {
      return failed(new CommandFailed("the gateway was restarted while it worked on this; ask again"));
    }
    const alive = new AbortController();
    const progress = { done: 0, total: 0, unit: "" };
    const context: CommandContext = {
      commandId: command.commandId,
      signal,
      progress: (done, total, unit) => Object.assign(progress, { done, total, unit: unit.slice(0, 20) }),
    };
    this.#inBackground(() => this.#keepAlive(command.commandId, progress, alive.signal));
    try {
      const result = await this.#dispatch(command.body, context);
      return { state: "done", result };
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!(error instanceof FarshoreError)) this.#log.error("command.fault", { commandId: command.commandId, error });
      return failed(error);
    } finally {
      alive.abort(new Error("the command ended"));
    }
  }

  #dispatch(body: CommandBody, context: CommandContext): Promise<Record<string, unknown>> {
    const missing = (): never => {
      throw new CommandFailed(`this gateway's configuration has no section that serves ${body.kind}`, {
        kind: body.kind,
      });
    };
    const handlers = this.#handlers;
    switch (body.kind) {
      case "attach-volumes":
        return (handlers["attach-volumes"] ?? missing)(body, context);
      case "boot-vms":
        return (handlers["boot-vms"] ?? missing)(body, context);
      case "stop-vms":
        return (handlers["stop-vms"] ?? missing)(body, context);
      case "detach-volumes":
        return (handlers["detach-volumes"] ?? missing)(body, context);
      case "promote-volumes":
        return (handlers["promote-volumes"] ?? missing)(body, context);
      case "shutdown-source":
        return (handlers["shutdown-source"] ?? missing)(body, context);
      case "power-on-source":
        return (handlers["power-on-source"] ?? missing)(body, context);
      case "seed-volumes":
        return (handlers["seed-volumes"] ?? missing)(body, context);
      case "preseed-volumes":
        return (handlers["preseed-volumes"] ?? missing)(body, context);
      case "protect-volumes":
        return (handlers["protect-volumes"] ?? missing)(body, context);
      case "hash-volumes":
        return (handlers["hash-volumes"] ?? missing)(body, context);
      case "ship-wanted":
        return (handlers["ship-wanted"] ?? missing)(body, context);
      case "close-volumes":
        return (handlers["close-volumes"] ?? missing)(body, context);
      case "open-volumes":
        return (handlers["open-volumes"] ?? missing)(body, context);
      case "set-throttle":
        return (handlers["set-throttle"] ?? missing)(body, context);
      case "verify-volumes":
        return (handlers["verify-volumes"] ?? missing)(body, context);
      case "remove-source":
        return (handlers["remove-source"] ?? missing)(body, context);
      case "scrub-volumes":
        return (handlers["scrub-volumes"] ?? missing)(body, context);
      case "tag-checkpoint":
        return (handlers["tag-checkpoint"] ?? missing)(body, context);
    }
  }

  /** Reports "running" once a second while the command does, so that the step that waits for it goes on waiting. */
  async #keepAlive(
    commandId: string,
    progress: { done: number; total: number; unit: string },
    signal: AbortSignal,
  ): Promise<void> {
    for (;;) {
      try {
        await this.#clock.sleep(busyHeartbeatMs, signal);
        await this.#site.reportCommand(commandId, { state: "running", progress: { ...progress } }, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.debug("command.progress-not-told", { commandId, error });
      }
    }
  }

  async #refuse(commandId: string): Promise<void> {
    const report = failed(new InvalidInput("this gateway's version does not know such a command; update it"));
    const record: CommandRecord = { state: "ended", report };
    this.#held.set(commandId, { record, counted: false, running: false, takenAt: undefined, reporting: false });
    await this.#report(commandId);
  }

  async #report(commandId: string): Promise<void> {
    const held = this.#held.get(commandId);
    if (held === undefined || held.record.state !== "ended" || held.reporting) return;
    held.reporting = true;
    try {
      await this.#site.reportCommand(commandId, held.record.report, this.#stop.signal);
      held.takenAt = this.#heartbeat;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (error instanceof FarshoreError && unwanted.has(error.name)) held.takenAt = this.#heartbeat;
      this.#log.warn("command.answer-not-taken", { commandId, error });
    } finally {
      held.reporting = false;
    }
  }
}

export interface CommandRunnerOptions {
  readonly handlers: CommandHandlers;
  readonly state: StateStore;
  /** What the names of its documents begin with. */
  readonly prefix: string;
  readonly site: Pick<SiteClient, "reportCommand">;
  readonly clock: Clock;
  readonly log: Log;
}

function failed(error: unknown): CommandReport {
  const name = error instanceof FarshoreError ? error.name : "CommandFailed";
  const message = error instanceof Error ? error.message : String(error);
  return { state: "failed", error: { name: name.slice(0, 100), message: message.slice(0, 4000) } };
}

const idOnly = z.object({ commandId: commandSchema.shape.commandId });

function idOf(raw: unknown): string | undefined {
  const parsed = idOnly.safeParse(raw);
  return parsed.success ? parsed.data.commandId : undefined;
}
