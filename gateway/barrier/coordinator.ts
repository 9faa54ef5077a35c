import { NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { BarrierEvent } from "#core/journal/batch.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Clock, Log } from "#core/ports.ts";
import { ChangeSignal } from "../tap/change-signal.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { CoordinatorChannel } from "./channel.ts";
import { askedAttemptsMax, askedPauseMs, heldWaitMs, releasedWaitMs, restMarginMs, restMsMin } from "./limits.ts";
import type { FromPeer } from "./messages.ts";

export interface NamedGateway {
  readonly gatewayId: Id;
  readonly name: string;
}

export interface CoordinatorParts {
  readonly log: Pick<SessionLog, "hold" | "barrier" | "mode" | "session" | "whole">;
  readonly own: NamedGateway;
  readonly peers: readonly NamedGateway[];
  readonly clock: Clock;
  readonly events: Log;
}

/** A barrier that held, by the position of its record, or why there is none. */
export type BarrierOutcome =
  | { readonly kind: "made"; readonly position: Position; readonly attempt: Attempt }
  | { readonly kind: "failed"; readonly problem: string };

/** What is heard of one attempt, and only over the connections that it began on. */
interface Attempt {
  readonly number: number;
  readonly channels: ReadonlyMap<CoordinatorChannel, NamedGateway>;
  readonly held: Map<Id, Position>;
  readonly released: Set<Id>;
  readonly durable: Set<Id>;
  problem: string | undefined;
  /** One of its connections is gone. */
  lost: boolean;
}

/**
 * R11, the coordinator's side. HOLD to all; once all have said HELD it takes its own position and sends RELEASE in one step: at that
 * instant all hold, and only it matters. It needs no hold of its own acknowledgements, since the instant of its position is the
 * barrier's. A record is appended only when all answer that they held until this RELEASE.
 */
export class Coordinator {
  readonly #changes = new ChangeSignal();
  readonly #parts: CoordinatorParts;
  readonly #channels = new Map<Id, CoordinatorChannel>();
  /** The newest session that each peer has answered for: an older one is of a process that was followed by another. */
  readonly #sessions = new Map<Id, number>();
  #attempts = 0;
  #current: Attempt | undefined;
  /** Attempts whose parts' durability somebody waits for. */
  readonly #asked = new Set<Attempt>();
  #running: Promise<BarrierOutcome> | undefined;
  #last: { readonly position: Position; readonly vector: readonly Position[] } | undefined;
  #problem: string | null = null;
  /** When the last attempt ended, by the monotonic clock. */
  #endedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: CoordinatorParts) {
    this.#parts = parts;
  }

  /** Why the last attempt made no checkpoint; null when it did. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Says whether it is one of the peers; then its channel counts from now on, instead of one before. */
  joined(gatewayId: Id, channel: CoordinatorChannel): boolean {
    const peer = this.#parts.peers.find((each) => each.gatewayId === gatewayId);
    if (peer === undefined) return false;
    this.#channels.get(gatewayId)?.close();
    this.#channels.set(gatewayId, channel);
    this.#parts.events.info("barrier.joined", { gateway: peer.name });
    return true;
  }

  left(gatewayId: Id, channel: CoordinatorChannel): void {
    if (this.#channels.get(gatewayId) === channel) this.#channels.delete(gatewayId);
    for (const attempt of [...this.#asked, ...(this.#current === undefined ? [] : [this.#current])]) {
      const peer = attempt.channels.get(channel);
      if (peer === undefined) continue;
      attempt.lost = true;
      attempt.problem ??= `gateway ${peer.name} was lost during the barrier`;
    }
    this.#changes.fire();
  }

  received(channel: CoordinatorChannel, message: FromPeer): void {
    if (message.kind === "hello") return;
    const about = (attempt: Attempt): boolean => attempt.number === message.attempt && attempt.channels.has(channel);
    const attempt = [...this.#asked].find(about) ?? this.#current;
    const peer = attempt?.channels.get(channel);
    if (attempt === undefined || peer === undefined || !about(attempt)) return;
    const { gatewayId, name } = peer;
    switch (message.kind) {
      case "held":
        this.#held(attempt, peer, { session: message.session, sequence: message.sequence });
        break;
      case "refused":
        attempt.problem ??= notWhole(peer, message);
        break;
      case "released":
        if (message.ok) attempt.released.add(gatewayId);
        else attempt.problem ??= `gateway ${name} was not released in time`;
        break;
      case "durable":
        attempt.durable.add(gatewayId);
        break;
    }
    this.#changes.fire();
  }

  #held(attempt: Attempt, { gatewayId, name }: NamedGateway, position: Position): void {
    // The first counts: a hold has one position.
    if (attempt.held.has(gatewayId)) return;
    const newest = this.#sessions.get(gatewayId) ?? 0;
    if (position.session < newest) {
      attempt.problem ??= `gateway ${name} answers for session ${position.session}, and its session ${newest} is newer`;
      return;
    }
    this.#sessions.set(gatewayId, position.session);
    attempt.held.set(gatewayId, position);
  }

  /** One barrier without a tag, once the others have rested from the last one; or the one that is under way. */
  async attempt(): Promise<BarrierOutcome> {
    while (this.#running === undefined && this.#restLeftMs > 0) await this.#wait();
    return await (this.#running ?? this.#start("", false));
  }

  /**
   * A checkpoint that somebody asked for: resolves when every other gateway's part of it is durable. Throws `NoCheckpoint` that says
   * why there is none, after some attempts.
   */
  async asked(tag: string, signal: AbortSignal): Promise<Position> {
    let problem = "";
    for (let count = 0; count < askedAttemptsMax; count += 1) {
      if (count > 0) await this.#parts.clock.sleep(askedPauseMs, signal);
      // Looked at again after each wait: of several who waited for the same, one is first.
      while (this.#running !== undefined || this.#restLeftMs > 0) await this.#wait(signal);
      const outcome = await this.#start(tag, true);
      if (outcome.kind === "made") return await this.#durable(outcome.position, outcome.attempt, signal);
      problem = outcome.problem;
    }
    throw new NoCheckpoint(`No checkpoint can be made: ${problem}`);
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  /** Until the attempt that is under way ended, or the others have rested from the last one. */
  async #wait(signal?: AbortSignal): Promise<void> {
    if (this.#running === undefined) await this.#parts.clock.sleep(this.#restLeftMs, signal);
    else await this.#running;
  }

  get #restLeftMs(): number {
    return restMsMin + restMarginMs - (this.#parts.clock.monotonic() - this.#endedAt);
  }

  async #durable(position: Position, attempt: Attempt, signal: AbortSignal): Promise<Position> {
    this.#asked.add(attempt);
    const whole = (): boolean => attempt.durable.size === attempt.channels.size;
    try {
      await this.#changes.until(() => whole() || attempt.lost, signal);
    } finally {
      this.#asked.delete(attempt);
    }
    if (whole()) return position;
    throw new NoCheckpoint("a gateway was lost before its part of the checkpoint was durable at the recovery site");
  }

  async #start(tag: string, tellDurable: boolean): Promise<BarrierOutcome> {
    const running = this.#run(tag, tellDurable);
    this.#running = running;
    try {
      const outcome = await running;
      this.#note(outcome);
      return outcome;
    } finally {
      this.#endedAt = this.#parts.clock.monotonic();
      this.#running = undefined;
    }
  }

  async #run(tag: string, tellDurable: boolean): Promise<BarrierOutcome> {
    const { log, own, peers, clock } = this.#parts;
    if (!log.whole) return failed(notWhole(own, log));
    const missing = peers.find(({ gatewayId }) => !this.#channels.has(gatewayId));
    if (missing !== undefined) return failed(`gateway ${missing.name} is not connected to the barrier`);
    const attempt = this.#begin();
    const without = (answers: { has(id: Id): boolean }) => peers.find(({ gatewayId }) => !answers.has(gatewayId));
    await this.#within(heldWaitMs, attempt, () => without(attempt.held) === undefined);
    const late = without(attempt.held);
    if (late !== undefined) attempt.problem ??= `gateway ${late.name} did not hold within ${heldWaitMs} ms`;
    // From the look at what was heard to the RELEASE in one step: all hold at this instant, or say later that they didn't.
    const position = attempt.problem === undefined ? log.hold() : undefined;
    const [time, heldAt] = [clock.now(), clock.monotonic()];
    for (const channel of attempt.channels.keys()) {
      channel.send({ kind: "release", attempt: attempt.number, tellDurable });
    }
    if (attempt.problem !== undefined) return failed(attempt.problem);
    if (position === undefined) return failed(notWhole(own, log));
    await this.#within(releasedWaitMs, attempt, () => without(attempt.released) === undefined);
    const silent = without(attempt.released);
    if (silent !== undefined) attempt.problem ??= `gateway ${silent.name} did not answer the release`;
    if (attempt.problem !== undefined) return failed(attempt.problem);
    if (log.session?.session !== position.session) return failed(`gateway ${own.name} lost its session`);
    const vector = [position, ...attempt.held.values()].sort(comparePositions);
    const appended = this.#append({ time, tag, vector }, heldAt);
    return appended === undefined ? failed(notWhole(own, log)) : { kind: "made", position: appended, attempt };
  }

  #append(barrier: Omit<BarrierEvent, "kind" | "sequence">, heldAt: number): Position | undefined {
    const { tag, vector } = barrier;
    // Nothing was appended anywhere since the last one: it goes on standing for this instant too.
    if (tag === "" && this.#last !== undefined && sameVector(this.#last.vector, vector)) {
      return this.#last.position;
    }
    const position = this.#parts.log.barrier(barrier, heldAt);
    if (position !== undefined) this.#last = { position, vector };
    return position;
  }

  #begin(): Attempt {
    this.#attempts += 1;
    const channels = new Map<CoordinatorChannel, NamedGateway>();
    for (const peer of this.#parts.peers) {
      const channel = this.#channels.get(peer.gatewayId);
      if (channel !== undefined) channels.set(channel, peer);
    }
    const attempt: Attempt = {
      number: this.#attempts,
      channels,
      held: new Map(),
      released: new Set(),
      durable: new Set(),
      problem: undefined,
      lost: false,
    };
    this.#current = attempt;
    for (const channel of channels.keys()) channel.send({ kind: "hold", attempt: attempt.number });
    return attempt;
  }

  /** Until it is met, the attempt failed or the time is up. */
  async #within(ms: number, attempt: Attempt, met: () => boolean): Promise<void> {
    const over = new AbortController();
    const changed = this.#changes.until(() => met() || attempt.problem !== undefined, over.signal);
    const late = this.#parts.clock.sleep(ms, over.signal);
    // Whichever comes second is aborted.
    await Promise.race([changed, late].map((each) => each.catch(() => undefined)));
    over.abort(new Error("over"));
  }

  /** Told once a change, not every interval. */
  #note(outcome: BarrierOutcome): void {
    const problem = outcome.kind === "made" ? null : outcome.problem;
    const { events } = this.#parts;
    if (problem !== this.#problem) {
      if (problem === null) events.info("barrier.holds");
      else events.warn("barrier.failed", { problem });
    }
    this.#problem = problem;
  }
}

const failed = (problem: string): BarrierOutcome => ({ kind: "failed", problem });

const notWhole = ({ name }: NamedGateway, { mode }: { readonly mode: string }): string =>
  `gateway ${name} is in mode "${mode}"`;

function sameVector(left: readonly Position[], right: readonly Position[]): boolean {
  return (
    left.length === right.length && left.every((each, index) => comparePositions(each, right[index] ?? each) === 0)
  );
}
