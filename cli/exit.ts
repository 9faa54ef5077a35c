import { assertNever, FarshoreError } from "#core/errors.ts";

/** EXIT STATUS of every command, also printed by its help. */
export const exitText = `
Exit status:
  0  done
  1  failed: the site, the network or the data refused; the message says what to do
  2  bad usage or input
  3  the operation ended otherwise than asked (failed, or rolled back)
`;

export const exitCodes = { done: 0, failed: 1, usage: 2, otherwise: 3 } as const;

/** The one place where errors become exit codes. */
export function toExitCode(error: unknown): number {
  if (!(error instanceof FarshoreError)) return exitCodes.failed;
  switch (error.kind) {
    case "invalid":
      return exitCodes.usage;
    case "retryable":
    case "conflict":
    case "corrupt":
    case "operator":
      return exitCodes.failed;
    default:
      return assertNever(error.kind);
  }
}

/** Where the runbook says what a person can do about an error; undefined for one whose message is enough. */
export function runbookOf(error: unknown): string | undefined {
  if (!(error instanceof FarshoreError)) return undefined;
  return error.kind === "operator" || error.kind === "corrupt"
    ? `docs/runbook.md#${error.name.toLowerCase()}`
    : undefined;
}
