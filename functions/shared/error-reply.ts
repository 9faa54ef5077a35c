import { FarshoreError } from "#core/errors.ts";
import { type HttpResult, json } from "./http.ts";

/**
 * Any error as the API tells it. One that isn't of core/errors.ts is a fault of ours: its text may hold anything, so the
 * caller learns only the request's id, under which the log has it, and may try again.
 */
export function errorReply(error: unknown, requestId: string): HttpResult {
  if (error instanceof FarshoreError) {
    const { name, message, details, status } = error;
    return json({ error: { name, message, details } }, status);
  }
  const message = `the site failed on this request; its log says more under ${requestId}`;
  return json({ error: { name: "Transient", message, details: { requestId } } }, 500);
}

/** Worth a line of a person's attention: what is broken here, not what a caller did wrong. */
export function isOurFault(error: unknown): boolean {
  return !(error instanceof FarshoreError) || error.kind === "corrupt";
}
