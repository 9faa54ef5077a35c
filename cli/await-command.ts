import { commandViewSchema } from "#core/api/site-api.ts";
import { CommandFailed, errorFromWire } from "#core/errors.ts";
import { formatDuration } from "#core/units.ts";
import { cliLimits } from "./limits.ts";
import type { SiteClient } from "./site-client.ts";

/** The result of a command once its gateway has done it. Throws what the gateway said, `CommandExpired`, or `CommandFailed` naming what it didn't do in time. */
export async function awaitCommand(
  client: SiteClient,
  commandId: string,
  what: string,
): Promise<Readonly<Record<string, unknown>>> {
  const deadline = Date.now() + cliLimits.commandWaitMs;
  while (Date.now() < deadline) {
    const command = await client.get(`/v1/commands/${commandId}`, commandViewSchema);
    if (command.state === "failed" || command.state === "expired") {
      throw errorFromWire(
        command.error?.name ?? "CommandExpired",
        command.error?.message ?? "the gateway did not answer in time",
      );
    }
    if (command.state === "done") return command.result ?? {};
    await new Promise((resolve) => setTimeout(resolve, cliLimits.pollMs));
  }
  throw new CommandFailed(
    `the gateway did not ${what} within ${formatDuration(cliLimits.commandWaitMs)}; is it running? (farshore status)`,
  );
}
