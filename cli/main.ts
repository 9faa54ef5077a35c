#!/usr/bin/env node
import { type Command, CommanderError, Option, program } from "commander";
import { FarshoreError } from "#core/errors.ts";
import { version } from "#core/version.ts";
import { registerApproval } from "./commands/approval.ts";
import { registerCheckpoint } from "./commands/checkpoint.ts";
import { registerCost } from "./commands/cost.ts";
import { registerEvent } from "./commands/event.ts";
import { registerFailover } from "./commands/failover.ts";
import { registerGateway } from "./commands/gateway.ts";
import { registerIncident } from "./commands/incident.ts";
import { registerInit } from "./commands/init.ts";
import { registerJournal } from "./commands/journal.ts";
import { registerOperation } from "./commands/operation.ts";
import { registerReport } from "./commands/report.ts";
import { registerSite } from "./commands/site.ts";
import { registerStatus } from "./commands/status.ts";
import { registerToken } from "./commands/token.ts";
import { registerView } from "./commands/view.ts";
import { registerVpg } from "./commands/vpg.ts";
import { defaultSite } from "./context.ts";
import { exitCodes, exitText, toExitCode } from "./exit.ts";

/** Exit status and bad usage alike on every command, however deep. */
function everyCommand(command: Command): void {
  command.exitOverride();
  command.showHelpAfterError("(--help shows how)");
  if (command.name() !== "status") command.addHelpText("after", exitText);
  for (const inner of command.commands) everyCommand(inner);
}

program
  .name("farshore")
  .description("Continuous block-level disaster recovery with an any-second journal.")
  .version(version)
  .addOption(new Option("--site <url>", "the site to talk to").env("FARSHORE_SITE").default(defaultSite))
  .addOption(
    new Option("--token <token>", "who you are; better by the variable, which others cannot see").env("FARSHORE_TOKEN"),
  )
  .addOption(
    new Option(
      "--auth <how>",
      "token, or iam: requests signed with AWS credentials; by default what the site's URL takes",
    )
      .env("FARSHORE_AUTH")
      .choices(["token", "iam"]),
  )
  .option("--json", "print the result as one JSON document")
  .option("--yes", "do not ask before destroying something");

for (const register of [
  registerInit,
  registerStatus,
  registerSite,
  registerToken,
  registerVpg,
  registerGateway,
  registerCheckpoint,
  registerFailover,
  registerOperation,
  registerReport,
  registerEvent,
  registerIncident,
  registerApproval,
  registerView,
  registerJournal,
  registerCost,
]) {
  register(program);
}
everyCommand(program);

// Who reads the output may have seen enough (`farshore … | head`): nothing failed, and nobody is left to tell.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  } else {
    const name = error instanceof FarshoreError ? `${error.name}: ` : "";
    process.stderr.write(`farshore: ${name}${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = toExitCode(error);
  }
}
