import type { Workflows } from "#core/ports.ts";

/** The same workflows; a success of a token for which `loses` says so never arrives. */
export function lossy(workflows: Workflows, loses: () => boolean): Workflows {
  return {
    start: (...input) => workflows.start(...input),
    describe: (...input) => workflows.describe(...input),
    stop: (...input) => workflows.stop(...input),
    fail: (...input) => workflows.fail(...input),
    heartbeat: (token) => workflows.heartbeat(token),
    succeed: async (token, output) => {
      if (!loses()) await workflows.succeed(token, output);
    },
  };
}
