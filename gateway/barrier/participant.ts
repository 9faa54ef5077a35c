import type { Position } from "#core/journal/position.ts";
import type { Clock } from "#core/ports.ts";
import type { AcknowledgementGate, GateHold } from "../disk/acknowledgement-gate.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { PeerChannel } from "./channel.ts";
import { holdMsMax, restMsMin } from "./limits.ts";
import type { FromCoordinator } from "./messages.ts";

interface Hold {
  readonly attempt: number;
  readonly position: Position;
  /** Of the monotonic clock. */
  readonly since: number;
  readonly gate: GateHold;
  readonly over: AbortController;
}

export interface ParticipantParts {
  readonly log: Pick<SessionLog, "hold" | "mode" | "session" | "backlog" | "changes">;
  readonly gate: AcknowledgementGate;
  readonly clock: Clock;
}

/**
 * A gateway's part in the barriers of its coordinator, for the life of one connection. It answers by attempt: a hold that ended by
 * itself, by a later attempt or with the connection was broken, and no RELEASE makes it whole again.
 */
export class Participant {
  readonly #parts: ParticipantParts;
  readonly #channel: PeerChannel;
  /** The highest attempt that was heard of. */
  #heard = 0;
  #hold: Hold | undefined;
  readonly #gone = new AbortController();

  constructor(channel: PeerChannel, parts: ParticipantParts) {
    this.#parts = parts;
    this.#channel = channel;
  }

  received(message: FromCoordinator): void {
    if (message.kind === "hold") this.#begin(message.attempt);
    else this.#end(message.attempt, message.tellDurable);
  }

  /** No RELEASE can come any more. */
  closed(): void {
    this.#gone.abort(new Error("the connection is gone"));
    this.#release();
  }

  #begin(attempt: number): void {
    if (attempt === this.#hold?.attempt) this.#sayHeld(this.#hold);
    if (attempt <= this.#heard) return;
    this.#heard = attempt;
    this.#release();
    const { log, gate, clock } = this.#parts;
    const since = clock.monotonic();
    if (since - gate.openSince < restMsMin) {
      this.#channel.send({ kind: "refused", attempt, mode: "resting" });
      return;
    }
    // In this order, and nothing in between: what is acknowledged from here on stands behind the position.
    const held = gate.hold(since);
    const position = log.hold();
    if (position === undefined) {
      held.release(since);
      this.#channel.send({ kind: "refused", attempt, mode: log.mode });
      return;
    }
    const hold: Hold = { attempt, position, since, gate: held, over: new AbortController() };
    this.#hold = hold;
    clock.sleep(holdMsMax, hold.over.signal).then(
      () => {
        if (this.#hold === hold) this.#release();
      },
      () => undefined,
    );
    this.#sayHeld(hold);
  }

  #sayHeld({ attempt, position }: Hold): void {
    this.#channel.send({ kind: "held", attempt, ...position });
  }

  #end(attempt: number, tellDurable: boolean): void {
    const hold = this.#hold;
    const { log, clock } = this.#parts;
    const ok =
      hold?.attempt === attempt &&
      hold.gate.whole &&
      // A timer may be late, as after a stop of the whole process.
      clock.monotonic() - hold.since <= holdMsMax &&
      log.session?.session === hold.position.session;
    // What was released isn't held afterwards, in whatever order it comes.
    this.#heard = Math.max(this.#heard, attempt);
    if (hold?.attempt === attempt) this.#release();
    this.#channel.send({ kind: "released", attempt, ok });
    if (ok && tellDurable) this.#sayDurable(attempt, hold.position);
  }

  #release(): void {
    const hold = this.#hold;
    this.#hold = undefined;
    hold?.over.abort(new Error("the hold is over"));
    hold?.gate.release(this.#parts.clock.monotonic());
  }

  #sayDurable(attempt: number, { session, sequence }: Position): void {
    const { log } = this.#parts;
    const same = (): boolean => log.session?.session === session;
    const here = (): boolean => (log.backlog?.acknowledgedSequence ?? 0) >= sequence;
    log.changes
      .until(() => !same() || here(), this.#gone.signal)
      .then(
        () => {
          if (same()) this.#channel.send({ kind: "durable", attempt });
        },
        // Only the end of the connection rejects: then there is nobody to tell.
        () => undefined,
      );
  }
}
