import type { Clock, Random } from "#core/ports.ts";

/** One life of a process. What belongs to it stops when it is killed: calls under way never return. */
export class Life {
  #alive = true;
  #burying = false;
  #end: () => void = () => {};
  readonly #ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  get burying(): boolean {
    return this.#burying;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** `burial` lets go of handles; a wait that it begins at once is over at once. */
  kill(burial: () => void = () => {}): void {
    this.#alive = false;
    this.#end();
    this.#burying = true;
    burial();
    this.#burying = false;
  }

  /** What `work` answers, or "killed" when the process dies first. */
  async race<T>(work: Promise<T>): Promise<T | "killed"> {
    return Promise.race([work, this.#ended.then(() => "killed" as const)]);
  }
}

const never = new Promise<never>(() => {});

/**
 * A port as the process of this life sees it: after the kill nothing is done any more and no answer arrives, so the code
 * of a dead process hangs as it would be gone. `onCall` is told of each call that came back, and may kill.
 */
export function mortal<T extends object>(port: T, life: Life, onCall?: (method: string) => void): T {
  return new Proxy(port, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        if (!life.alive) return never;
        const answer: unknown = Reflect.apply(member, target, args);
        if (!(answer instanceof Promise)) return answer;
        return answer.then(
          (value: unknown) => {
            onCall?.(String(name));
            return life.alive ? value : never;
          },
          (error: unknown) => {
            onCall?.(String(name));
            if (!life.alive) return never;
            throw error;
          },
        );
      };
    },
  });
}

/** The clock of a process: who sleeps when it dies never wakes. */
export function mortalClock(clock: Clock, life: Life): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => {
      if (life.alive) return clock.sleep(ms, signal);
      return life.burying ? Promise.resolve() : never;
    },
  };
}

/** A port whose calls take 0 to 3 turns of the event loop before they are done and as many before they answer. */
export function jittery<T extends object>(port: T, random: Random): T {
  const linger = async (): Promise<void> => {
    for (let turns = (random.bytes(1)[0] ?? 0) % 4; turns > 0; turns -= 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return new Proxy(port, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return async (...args: unknown[]): Promise<unknown> => {
        await linger();
        try {
          return await Reflect.apply(member, target, args);
        } finally {
          await linger();
        }
      };
    },
  });
}
