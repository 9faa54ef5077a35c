import { SystemClock } from "#adapters/embedded/clock.ts";
import type { Clock } from "#core/ports.ts";
import { refusedOpenRetryMs } from "../../gateway/limits.ts";

/** The system's, but for pauses between attempts, which are short. The drain of a clean end is longer than those, and stays. */
export class HastyClock extends SystemClock implements Clock {
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return super.sleep(ms > refusedOpenRetryMs ? ms : Math.min(ms, 20), signal);
  }
}
