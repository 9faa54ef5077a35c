import { Command, Help, Option } from "commander";
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
import { registerMove } from "./commands/move.ts";
import { registerOperation } from "./commands/operation.ts";
import { registerReport } from "./commands/report.ts";
import { registerReverseProtection } from "./commands/reverse-protection.ts";
import { registerScratch } from "./commands/scratch.ts";
import { registerScrub } from "./commands/scrub.ts";
import { registerSite } from "./commands/site.ts";
import { registerStatus } from "./commands/status.ts";
import { registerSync } from "./commands/sync.ts";
import { registerToken } from "./commands/token.ts";
import { registerView } from "./commands/view.ts";
import { registerVpg } from "./commands/vpg.ts";
import { defaultSite } from "./context.ts";
import { exitText } from "./exit.ts";

/** Exit status and bad usage alike on every command, however deep. */
function everyCommand(command: Command): void {
  command.createHelp = () => Object.assign(new FullHelp(), command.configureHelp());
  command.exitOverride();
  command.showHelpAfterError("(--help shows how)");
  if (command.name() !== "status") command.addHelpText("after", exitText);
  for (const inner of command.commands) everyCommand(inner);
}

/** Commander's own words of an option leave out that it must be given. */
class FullHelp extends Help {
  override optionDescription(option: Option): string {
    const text = super.optionDescription(option);
    return option.mandatory ? `${text} (required)` : text;
  }
}

/** The whole command line: every command, its options and its help. */
export function makeProgram(): Command {
  const program = new Command();
  program
    .name("farshore")
    .description("Continuous block-level disaster recovery with an any-second journal.")
    .version(version)
    .addOption(new Option("--site <url>", "the site to talk to").env("FARSHORE_SITE").default(defaultSite))
    .addOption(
      new Option("--token <token>", "who you are; better by the variable, which others cannot see").env(
        "FARSHORE_TOKEN",
      ),
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
    registerMove,
    registerSync,
    registerReverseProtection,
    registerOperation,
    registerReport,
    registerEvent,
    registerIncident,
    registerApproval,
    registerView,
    registerScratch,
    registerJournal,
    registerScrub,
    registerCost,
  ]) {
    register(program);
  }
  everyCommand(program);
  return program;
}
