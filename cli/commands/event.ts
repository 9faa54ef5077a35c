import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { ulid } from "ulid";
import { receivedSchema } from "#core/api/trigger-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { triggerLimits } from "#core/trigger/limits.ts";
import { contextOf } from "../context.ts";
import { result } from "../output.ts";

interface PutFlags {
  readonly kind: "custom" | "alarm" | "health";
  readonly vpg?: string;
  readonly source: string;
  readonly alarm?: string;
  readonly region?: string;
  readonly reason?: string;
  readonly file?: string;
}

/** The flags as an event of EventBridge's form. Throws `InvalidInput` for a flag that is missing. */
export function eventOf(flags: PutFlags, protectedSite: string | undefined, now: Date): unknown {
  const envelope = { id: ulid().toLowerCase(), time: now.toISOString(), region: flags.region ?? "" };
  const reason = needed(flags.reason, "--reason");
  switch (flags.kind) {
    case "custom": {
      if ((flags.vpg === undefined) === (protectedSite === undefined)) {
        throw new InvalidInput("a custom event is about --vpg or about a protected --site, one of the two");
      }
      const concerned = flags.vpg === undefined ? { site: protectedSite } : { vpg: flags.vpg };
      return { ...envelope, source: flags.source, "detail-type": "farshore", detail: { ...concerned, reason } };
    }
    case "alarm": {
      const detail = { alarmName: needed(flags.alarm, "--alarm"), state: { value: "ALARM", reason } };
      return { ...envelope, source: "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", detail };
    }
    case "health": {
      const eventRegion = needed(flags.region, "--region");
      const detail = { service: "FARSHORE", eventTypeCode: reason, eventTypeCategory: "issue", eventRegion };
      return { ...envelope, source: "aws.health", "detail-type": "AWS Health Event", detail };
    }
  }
}

function needed(value: string | undefined, flag: string): string {
  if (value === undefined) throw new InvalidInput(`${flag} is missing`);
  return value;
}

function readEventFile(file: string): unknown {
  try {
    const text = readFileSync(file, "utf8");
    if (text.length > triggerLimits.eventBytesMax) throw new InvalidInput("it is larger than any event");
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidInput(`${file} is no event: ${cause instanceof Error ? cause.message : cause}`, {}, { cause });
  }
}

export function registerEvent(program: Command): void {
  program
    .command("event")
    .description("Tell the site that something may be wrong at a source.")
    .command("put")
    .addOption(
      new Option("--kind <kind>", "as whose event it is read").choices(["custom", "alarm", "health"]).default("custom"),
    )
    .option("--vpg <vpg>", "name or id of the VPG it is about")
    .option("--source <name>", "who says so; a policy's confirm_by names sources", "farshore")
    .option("--alarm <name>", "with --kind alarm: the alarm's name")
    .option("--region <region>", "with --kind health: the region")
    .option("--reason <text>", "what happened")
    .option("--file <file>", "a whole event as EventBridge delivers it, JSON, in place of the other options")
    .description("Put one event: it raises suspicion, and what the site itself sees decides.")
    .addHelpText(
      "after",
      '\nA protected site\'s name is given as --site NAME; the site to talk to is then FARSHORE_SITE.\n\nExamples:\n  farshore event put --vpg shop --reason "smoke in rack 4"\n  farshore event put --site paris --reason "power is out"\n',
    )
    .action(async (flags: PutFlags, command: Command) => {
      const { output, client, protectedSite } = contextOf(command, { protectedSite: true });
      const event = flags.file === undefined ? eventOf(flags, protectedSite, new Date()) : readEventFile(flags.file);
      const received = await client().post("/v1/events", receivedSchema, event);
      result(output, received, () =>
        output.line(
          received.vpgs.length === 0
            ? "The event concerns no VPG of this site."
            : `Suspicion was raised of the source of ${received.vpgs.join(", ")}.`,
        ),
      );
    });
}
