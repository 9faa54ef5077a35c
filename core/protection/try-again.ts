import { ConditionFailed, Transient } from "#core/errors.ts";
import { protectionLimits as limits } from "./limits.ts";

/**
 * Runs read → decide → write again when the write's condition failed, because somebody came between. Throws `Transient`
 * when that goes on for longer than any honest race.
 */
export async function tryAgain<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (let count = 0; count < limits.writeAttemptsMax; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof ConditionFailed)) throw error;
    }
  }
  throw new Transient(`${what} is being changed by others; try again`);
}
