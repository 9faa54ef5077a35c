import { Transient } from "#core/errors.ts";
import { cliLimits } from "./limits.ts";

/**
 * Asks about something that goes on at the site by itself, over a restart of the site too: no answer ends it only when there is none
 * for as long as the limits say. `told` hears of the first failure. Throws the last failure, and anything but `Transient` at once.
 */
export async function askAgain<T>(ask: () => Promise<T>, told?: (error: Transient) => void): Promise<T> {
  const deadline = Date.now() + cliLimits.patienceMs;
  for (let first = true; ; first = false) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof Transient) || Date.now() >= deadline) throw error;
      if (first) told?.(error);
      await new Promise((resolve) => setTimeout(resolve, cliLimits.pollMs));
    }
  }
}
