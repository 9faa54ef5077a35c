/** A hold of the gate by one holder. */
export interface GateHold {
  /** False once it was released, by itself or by another hold. */
  readonly whole: boolean;
  /** `now` of the monotonic clock. What waited is let through; changes nothing when it is no longer whole. */
  release(now: number): void;
}

/**
 * R11: while it is held, what guests wrote is on the disk and in the journal but not acknowledged, and nothing that would show it
 * is answered.
 */
export class AcknowledgementGate {
  #waiting: (() => void)[] = [];
  #current: GateHold | undefined;
  #openSince = Number.NEGATIVE_INFINITY;

  get held(): boolean {
    return this.#current !== undefined;
  }

  /** When it was opened last, by the monotonic clock. */
  get openSince(): number {
    return this.#openSince;
  }

  /** Ends a hold that is under way before it begins the new one. */
  hold(now: number): GateHold {
    this.release(now);
    const isCurrent = (hold: GateHold): boolean => this.#current === hold;
    const open = (at: number): void => this.release(at);
    const hold: GateHold = {
      get whole() {
        return isCurrent(hold);
      },
      release: (at) => {
        if (isCurrent(hold)) open(at);
      },
    };
    this.#current = hold;
    return hold;
  }

  /** Opens it, whoever holds it. */
  release(now: number): void {
    if (this.#current === undefined) return;
    this.#current = undefined;
    this.#openSince = now;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** Resolves when it is open; who was let through is not caught by the next hold. */
  passed(): Promise<void> {
    if (this.#current === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
