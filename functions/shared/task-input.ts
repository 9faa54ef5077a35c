import { z } from "zod";
import { idSchema } from "#core/ids.ts";

/** What a state gives a task: names only, never block data or lists. */
export const operationInput = z.strictObject({ operationId: idSchema });
export const stepInput = operationInput.extend({ step: z.string().max(80) });
export const commandInput = stepInput.extend({ taskToken: z.string() });
export const tokenInput = operationInput.extend({ taskToken: z.string() });
/** A round of a delta-sync's comparison, and where the one before ended. */
export const roundInput = operationInput.extend({ after: z.string().max(512) });
/** One page of it. */
export const pageInput = operationInput.extend({
  page: z.strictObject({ session: z.int(), volume: z.int(), page: z.int() }),
});
/** The error output of a Catch. */
export const failureInput = operationInput.extend({
  error: z.object({ Error: z.string(), Cause: z.string().default("") }),
});

const lambdaCause = z.looseObject({ errorMessage: z.string() });

/** The message of a caught error: Lambda wraps it in JSON, Step Functions' own errors are text. */
export function messageOf(cause: string): string {
  try {
    const parsed = lambdaCause.safeParse(JSON.parse(cause));
    return parsed.success ? parsed.data.errorMessage : cause;
  } catch (error) {
    if (error instanceof SyntaxError) return cause;
    throw error;
  }
}
