import type { Heartbeat } from "#core/api/gateway-api.ts";
import { isRetryable } from "#core/errors.ts";
import type { Clock, Log } from "#core/ports.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import { busyHeartbeatMs, heartbeatMsMax, heartbeatMsMin } from "../limits.ts";
import type { HeartbeatAnswer, SiteClient } from "./site-client.ts";

export interface HeartbeatParts {
  readonly site: Pick<SiteClient, "heartbeat">;
  readonly clock: Clock;
  readonly log: Log;
  readonly sample: () => Omit<Heartbeat, "siteTime">;
  /** `number` counts the heartbeats of this process from 1; `sent` is the one that is answered. */
  readonly answered: (answer: HeartbeatAnswer, number: number, sent: Heartbeat) => void;
  /** Report every second at least. */
  readonly busy: () => boolean;
}

/** Tells the site how things stand, as often as it asks, and passes on what it answers. An unreachable site is told of once. */
export class HeartbeatLoop {
  readonly #parts: HeartbeatParts;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;
  #reachable: boolean | undefined;
  /** The site's clock in its last answer, and the monotonic clock when that came: it was no later then at the site. */
  #answer: { readonly siteTime: number; readonly cameAt: number } | undefined;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
  }

  /** Undefined before the first answer or failure. */
  get reachable(): boolean | undefined {
    return this.#reachable;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the gateway stops"));
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, busy } = this.#parts;
    const { signal } = this.#stop;
    for (let number = 1; !signal.aborted; number += 1) {
      const wanted = await this.#beat(number);
      const pause = Math.min(heartbeatMsMax, Math.max(heartbeatMsMin, wanted));
      // Only the stop rejects, and the loop looks at it next.
      await clock.sleep(busy() ? Math.min(pause, busyHeartbeatMs) : pause, signal).catch(() => undefined);
    }
  }

  /** Not after the site's time now; null before its first answer. */
  #siteTime(): number | null {
    if (this.#answer === undefined) return null;
    const { siteTime, cameAt } = this.#answer;
    return siteTime + Math.floor(this.#parts.clock.monotonic() - cameAt);
  }

  /** Returns the pause that the site asks for. */
  async #beat(number: number): Promise<number> {
    const { site, clock, log, sample, answered } = this.#parts;
    try {
      const siteTime = this.#siteTime();
      const sent = { ...sample(), siteTime };
      const answer = await site.heartbeat(sent, this.#stop.signal);
      // An answer that overtook the stop: whoever would be told is closing.
      if (this.#stop.signal.aborted) return 0;
      this.#answer = { siteTime: answer.siteTime, cameAt: clock.monotonic() };
      if (this.#reachable === false) log.info("site.reachable");
      this.#reachable = true;
      answered(answer, number, sent);
      return answer.nextHeartbeatMs;
    } catch (error) {
      if (this.#stop.signal.aborted) return 0;
      if (this.#reachable !== false) log.warn(isRetryable(error) ? "site.unreachable" : "site.refuses", { error });
      this.#reachable = false;
      return protectionLimits.heartbeatBusyIntervalMs;
    }
  }
}
