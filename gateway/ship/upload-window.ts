import { uploadAloneTimeoutMs, uploadTimeoutMs } from "../limits.ts";

/** An upload that may run, and what it needs to know to end. */
export interface Upload {
  readonly startedAt: number;
  readonly timeoutMs: number;
}

/**
 * How many uploads share the link. On a slow one all of them together would run out of time, be sent again, and never get
 * through: so there are fewer the longer they take, half as many after one failed, and at last a single one with more time.
 * The lowest batch goes first, since the prefix is what counts. Times are the caller's monotonic ones, ms.
 */
export class UploadWindow {
  readonly #most: number;
  readonly #waiting: { readonly batch: number; readonly grant: () => void }[] = [];
  #size: number;
  #underWay = 0;
  #halvedAt = Number.NEGATIVE_INFINITY;

  constructor(most: number) {
    this.#most = most;
    this.#size = most;
  }

  /** Resolves when the batch's upload may begin; `done` or `failed` must follow. */
  async enter(batch: number, now: () => number): Promise<Upload> {
    if (this.#underWay < this.#size && this.#waiting.length === 0) this.#underWay += 1;
    else await new Promise<void>((resolve) => this.#waiting.push({ batch, grant: resolve }));
    return { startedAt: now(), timeoutMs: this.#size === 1 ? uploadAloneTimeoutMs : uploadTimeoutMs };
  }

  /** The site answered, whatever it said. */
  done({ startedAt }: Upload, now: number): void {
    const tookMs = now - startedAt;
    if (tookMs < uploadTimeoutMs / 4) this.#resize(this.#size + 1);
    else if (tookMs > uploadTimeoutMs / 2) this.#resize(this.#size - 1);
    this.#leave();
  }

  /** No answer. Those that were under way together fail together, and count once. */
  failed({ startedAt }: Upload, now: number): void {
    if (startedAt >= this.#halvedAt) {
      this.#resize(Math.floor(this.#size / 2));
      this.#halvedAt = now;
    }
    this.#leave();
  }

  /** Lets everybody go on who waits: the session has ended, and they will see that. */
  release(): void {
    for (const { grant } of this.#waiting.splice(0)) {
      this.#underWay += 1;
      grant();
    }
  }

  #resize(size: number): void {
    this.#size = Math.min(this.#most, Math.max(1, size));
  }

  #leave(): void {
    this.#underWay -= 1;
    while (this.#underWay < this.#size && this.#waiting.length > 0) {
      const lowest = this.#waiting.reduce((least, one) => (one.batch < least.batch ? one : least));
      this.#waiting.splice(this.#waiting.indexOf(lowest), 1);
      this.#underWay += 1;
      lowest.grant();
    }
  }
}
