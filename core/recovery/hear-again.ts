import { extendCommand, queuedCommands } from "#core/protection/commands.ts";
import { listGateways } from "#core/protection/gateway-store.ts";
import type { Site } from "#core/site.ts";
import { commandIdOf } from "./command-step.ts";
import { recoveryLimits } from "./limits.ts";
import { findOperation, hasEnded } from "./operation-store.ts";
import { noteBegan } from "./site-began.ts";
import { isOver } from "./steps.ts";

/**
 * Nothing is concluded from a silence that the site was not there to hear. For a site in one process, when it begins and before
 * anything else runs: each gateway whose command a step still waits for has `hearAgainMs` to say that it is at it, or done. What a
 * step concluded before stands; so does the expiry of what no step waits for, since a person did. A step that is planned within that
 * time takes no gateway for silent either (site-began.ts). Answers how many commands were given time.
 */
export async function hearAgain(site: Site): Promise<number> {
  await noteBegan(site);
  let count = 0;
  for (const { gatewayId } of await listGateways(site)) {
    for (const { command, waiter } of await queuedCommands(site, gatewayId)) {
      if (waiter === null) continue;
      const operation = await findOperation(site, waiter.operationId);
      if (operation === undefined || hasEnded(operation) || isOver(operation.steps[waiter.step])) continue;
      // The name of a step is the same in each attempt; an earlier one's command is nobody's any more.
      if (!command.commandId.startsWith(commandIdOf(operation, waiter.step))) continue;
      if (await extendCommand(site, command.commandId, recoveryLimits.hearAgainMs)) count += 1;
    }
  }
  return count;
}
