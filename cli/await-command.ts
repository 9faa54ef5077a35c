import type { z } from "zod";
import { commandViewSchema } from "#core/api/site-api.ts";
import { CommandFailed, errorFromWire } from "#core/errors.ts";
import { formatDuration } from "#core/units.ts";
import { askAgain } from "./ask-again.ts";
import { cliLimits } from "./limits.ts";
import type { SiteClient } from "./site-client.ts";

type Progress = NonNullable<z.infer<typeof commandViewSchema>["progress"]>;

/**
 * The result of a command once its gateway has done it. With `told` it is followed for as long as it lives; null is told before it
 * has begun. Throws what the gateway said, `CommandExpired`, or `CommandFailed` naming what it didn't do in time.
 */
export async function awaitCommand(
  client: Pick<SiteClient, "get">,
  commandId: string,
  what: string,
  told?: (progress: Progress | null) => void,
): Promise<Readonly<Record<string, unknown>>> {
  const deadline = told === undefined ? Date.now() + cliLimits.commandWaitMs : Number.POSITIVE_INFINITY;
  while (Date.now() < deadline) {
    const command = await askAgain(() => client.get(`/v1/commands/${commandId}`, commandViewSchema));
    if (command.state === "failed" || command.state === "expired") {
      throw errorFromWire(
        command.error?.name ?? "CommandExpired",
        command.error?.message ?? "the gateway did not answer in time",
      );
    }
    if (command.state === "done") return command.result ?? {};
    told?.(command.progress);
    await new Promise((resolve) => setTimeout(resolve, cliLimits.pollMs));
  }
  throw new CommandFailed(
    `the gateway did not ${what} within ${formatDuration(cliLimits.commandWaitMs)}; is it running? (farshore status)`,
  );
}
