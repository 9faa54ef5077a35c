/** Wakes those who wait for something to have changed; they look themselves whether it is what they wait for. */
export class ChangeSignal {
  #waiting: (() => void)[] = [];

  fire(): void {
    if (this.#waiting.length === 0) return;
    const woken = this.#waiting;
    this.#waiting = [];
    for (const wake of woken) wake();
  }

  /** Resolves at the first change after the call; rejects with the signal's reason when it is aborted first. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const aborted = (): void => reject(signal.reason);
      signal.addEventListener("abort", aborted, { once: true });
      this.#waiting.push(() => {
        signal.removeEventListener("abort", aborted);
        resolve();
      });
    });
  }

  /** Resolves once `met` is true. */
  async until(met: () => boolean, signal: AbortSignal): Promise<void> {
    while (!met()) await this.next(signal);
  }
}
