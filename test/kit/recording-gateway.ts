import type { Id } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import type { Command, CommandBody, CommandReport, Final } from "#core/protection/command.ts";

export type Kind = CommandBody["kind"];

export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly from?: number;
  readonly to?: number;
}

/** How a gateway of a test misbehaves, by kind of command. */
export interface Behaviour {
  /** Reports this error instead of doing it; `from` and `to` count the commands of the kind from 1. */
  readonly fail?: Partial<Record<Kind, Failure>>;
  /** Never takes these up; "all" is a gateway that is not there. */
  readonly silent?: readonly Kind[] | "all";
  /** So many reports of the kind get lost on the way. */
  readonly loseReports?: Partial<Record<Kind, number>>;
  /** Reports everything twice. */
  readonly twice?: boolean;
  /** Milliseconds it works before it reports. */
  readonly worksMs?: Partial<Record<Kind, number>>;
  /** Says when it begins, and then so often, every `everyMs`, that it is at it. */
  readonly progress?: Partial<Record<Kind, { readonly times: number; readonly everyMs: number }>>;
}

interface Work {
  readonly command: Command;
  /** When each report is due; the last one is the end. */
  readonly due: number[];
  readonly end: CommandReport;
  lost: number;
}

/**
 * The machines behind two gateways: which volumes are attached, which VMs run, here and at the source. Counts each side effect
 * by its command, and notices what must never be: a VM running twice, volumes gone under a running VM.
 */
export class Machines {
  readonly effects = new Map<string, number>();
  readonly attached = new Map<Id, "live" | "test">();
  readonly running = new Map<Id, Set<string>>();
  readonly promoted = new Set<Id>();
  readonly scratchKept = new Map<Id, number>();
  readonly violations: string[] = [];
  sourceRuns = true;
  /** Where a sync is over. */
  syncEnd: Position = { session: 1, sequence: 1 };
  stoppedBy: Id | undefined;
  /** Whose close took write access from the source's volumes. */
  closedBy: Id | undefined;
  /** Of the source's disks, found by verify-volumes. */
  differingBytes = 0;
  /** VMs of the source whose remove hooks were run. */
  readonly removed: string[] = [];
  /** What a close answers; the test's site knows its sessions. */
  finalOf: (body: Extract<Command["body"], { kind: "close-volumes" }>) => Final = () => {
    throw new Error("no session to end");
  };

  do({ commandId, body }: Command): Record<string, unknown> {
    this.effects.set(commandId, (this.effects.get(commandId) ?? 0) + 1);
    switch (body.kind) {
      case "attach-volumes": {
        if (this.running.has(body.operationId)) this.violations.push("volumes attached under running VMs");
        if (this.attached.has(body.operationId)) this.violations.push("volumes attached that were not detached");
        this.attached.set(body.operationId, body.mode);
        const exports = body.volumes.map(({ volume }) => [String(volume), `nbd+unix:///v${volume}?socket=/s`]);
        return { exports: Object.fromEntries(exports) };
      }
      case "scrub-volumes":
        return {};
      case "boot-vms": {
        if (!this.attached.has(body.operationId)) this.violations.push("booted without volumes");
        const vms = this.running.get(body.operationId) ?? new Set();
        for (const vm of body.vms) vms.add(vm);
        this.running.set(body.operationId, vms);
        return { booted: body.vms, withoutHook: [] };
      }
      case "stop-vms":
        this.running.delete(body.operationId);
        return {};
      case "detach-volumes":
        if (this.running.has(body.operationId)) this.violations.push("volumes detached under running VMs");
        if (this.attached.delete(body.operationId) && body.keepScratchMs > 0)
          this.scratchKept.set(body.operationId, body.keepScratchMs);
        return {};
      case "promote-volumes":
        if (!this.attached.has(body.operationId)) this.violations.push("promoted without volumes");
        this.promoted.add(body.operationId);
        return { bytes: 4096 };
      case "shutdown-source":
        this.sourceRuns = false;
        this.stoppedBy = body.operationId;
        return {};
      case "power-on-source":
        if (this.running.has(body.operationId)) this.violations.push("source powered on beside recovered VMs");
        if (this.closedBy === body.operationId) this.closedBy = undefined;
        if (this.closedBy !== undefined) this.violations.push("source powered on with closed volumes");
        if (this.stoppedBy === body.operationId) this.sourceRuns = true;
        return {};
      case "set-throttle":
        return {};
      case "preseed-volumes":
      case "seed-volumes":
        return { hashedBytes: 8192, differingBytes: 4096, shippedBytes: 4096 };
      case "protect-volumes":
        if (!this.promoted.has(body.promotedBy)) this.violations.push("captures volumes that are not promoted");
        return { session: 1 };
      case "hash-volumes":
        return { pages: 1, hashedBytes: 4096 };
      case "ship-wanted":
        return { pages: 1, pagesAlone: 0, differingBytes: 0, shippedBytes: 0, end: this.syncEnd };
      case "close-volumes":
        if (this.sourceRuns) this.violations.push("closed under running VMs");
        this.closedBy = body.operationId;
        return { final: body.final ? this.finalOf(body) : null };
      case "open-volumes":
        if (this.running.has(body.operationId)) this.violations.push("source opened beside recovered VMs");
        if (this.closedBy === body.operationId) this.closedBy = undefined;
        return {};
      case "verify-volumes":
        if (this.closedBy !== body.operationId) this.violations.push("verified volumes that are not closed");
        return { hashedBytes: 4096, differingBytes: this.differingBytes };
      case "remove-source":
        this.removed.push(...body.vms);
        return { removed: body.vms, withoutHook: [] };
      case "tag-checkpoint":
        return {};
    }
  }
}

/** A gateway that does what it is told to its `Machines` and reports; it outlives the kills of its site. */
export class RecordingGateway {
  readonly gatewayId: Id;
  readonly #machines: Machines;
  readonly #behaviour: Behaviour;
  readonly #work = new Map<string, Work>();

  constructor(gatewayId: Id, machines: Machines, behaviour: Behaviour = {}) {
    this.gatewayId = gatewayId;
    this.#machines = machines;
    this.#behaviour = behaviour;
  }

  get absent(): boolean {
    return this.#behaviour.silent === "all";
  }

  /** Takes commands up and reports on them, with `report` as the way to the site. Answers the times when it wants to be asked again. */
  async turn(
    now: number,
    commands: readonly Command[],
    report: (commandId: string, report: CommandReport) => Promise<void>,
  ): Promise<readonly number[]> {
    for (const command of commands) this.#take(now, command);
    const later: number[] = [];
    for (const command of commands) {
      const work = this.#work.get(command.commandId);
      if (work === undefined) continue;
      while (work.due.length > 1 && (work.due[0] ?? now) <= now) {
        await report(command.commandId, { state: "running", progress: { done: 1, total: 2, unit: "chunks" } });
        // Only now: a real gateway says so every second, and what a site didn't take before it died comes again at once.
        work.due.shift();
      }
      const last = work.due[0] ?? now;
      if (last > now) {
        later.push(last);
      } else if (work.lost > 0) {
        work.lost -= 1;
        // A real gateway tries again at its next heartbeat.
        work.due[0] = now + 1000;
        later.push(now + 1000);
      } else {
        await report(command.commandId, work.end);
        if (this.#behaviour.twice === true) await report(command.commandId, work.end);
      }
    }
    return later;
  }

  #take(now: number, command: Command): void {
    const { kind } = command.body;
    const { silent, fail, loseReports, worksMs, progress } = this.#behaviour;
    if (this.#work.has(command.commandId) || silent === "all" || silent?.includes(kind) === true) return;
    const count = 1 + [...this.#work.values()].filter(({ command: other }) => other.body.kind === kind).length;
    const failure = fail?.[kind];
    const fails = failure !== undefined && count >= (failure.from ?? 1) && count <= (failure.to ?? count);
    const error = fails ? failure : undefined;
    const end: CommandReport =
      error === undefined
        ? { state: "done", result: this.#machines.do(command) }
        : { state: "failed", error: { name: error.name, message: error.message } };
    const { times = 0, everyMs = 0 } = progress?.[kind] ?? {};
    const beats = times === 0 ? [] : Array.from({ length: times + 1 }, (_, index) => now + index * everyMs);
    const due = [...beats, now + times * everyMs + (worksMs?.[kind] ?? 0)];
    this.#work.set(command.commandId, { command, due, end, lost: loseReports?.[kind] ?? 0 });
  }
}
