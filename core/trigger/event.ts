import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import type { VpgDefinition } from "#core/protection/definition.ts";
import { triggerLimits as limits } from "./limits.ts";

/** EventBridge's envelope, as far as it is read ("Events in Amazon EventBridge", event structure reference). */
export const eventSchema = z.object({
  id: z.string().min(1).max(100),
  source: z.string().min(1).max(limits.nameCharactersMax),
  "detail-type": z.string().min(1).max(limits.nameCharactersMax),
  time: z.iso.datetime({ offset: true }),
  region: z.string().max(40).default(""),
  detail: z.record(z.string(), z.unknown()),
});
export type SourceEvent = z.infer<typeof eventSchema>;

const reason = z.string().min(1).max(limits.reasonCharactersMax);
const customSchema = z.union([
  z.strictObject({ vpg: z.string().min(1).max(64), reason }),
  z.strictObject({ site: nameSchema, reason }),
]);
const alarmSchema = z.object({
  alarmName: z.string().min(1).max(limits.nameCharactersMax),
  state: z.object({ value: z.enum(["OK", "ALARM", "INSUFFICIENT_DATA"]), reason: z.string().default("") }),
});
const healthSchema = z.object({
  service: z.string().max(64),
  eventTypeCode: z.string().max(128),
  eventTypeCategory: z.string().max(40),
  statusCode: z.string().max(40).default("open"),
  /** Of the trouble; the envelope's is where the event was sent. */
  eventRegion: z.string().max(40).optional(),
});

export const hintKinds = ["custom", "alarm", "health"] as const;

/** What an event says: a kind, a sentence, and which VPGs it is about. */
export interface Reading {
  readonly eventId: string;
  readonly kind: (typeof hintKinds)[number];
  /** Who sent it, for `confirmBy`. */
  readonly source: string;
  readonly reason: string;
  /** False for an alarm that went back to OK or a notice without trouble: understood, and nothing follows. */
  readonly trouble: boolean;
  readonly concerns: (vpg: Pick<VpgDefinition, "vpgId" | "name" | "protectedSite" | "trigger">) => boolean;
}

/**
 * Reads an event of EventBridge's form. Throws `InvalidInput` for one that is malformed, too large, of a kind of AWS's that
 * nobody here understands, or dated too far from `now`: what raised suspicion yesterday says nothing of today.
 */
export function readEvent(value: unknown, now: number): Reading {
  if ((JSON.stringify(value) ?? "").length > limits.eventBytesMax) {
    throw new InvalidInput(`an event has at most ${limits.eventBytesMax} bytes`, { field: "event" });
  }
  const event = parseInput(eventSchema, value);
  const ageMs = now - Date.parse(event.time);
  if (ageMs > limits.hintMs || -ageMs > limits.eventAheadMsMax) {
    throw new InvalidInput(`event ${event.id} is of ${event.time}: too far from this site's clock to say anything`, {
      field: "time",
    });
  }
  switch (event.source) {
    case "aws.cloudwatch":
      return alarm(event);
    case "aws.health":
      return health(event);
    default:
      return custom(event);
  }
}

function alarm(event: SourceEvent): Reading {
  if (event["detail-type"] !== "CloudWatch Alarm State Change") throw unknownKind(event);
  const { alarmName, state } = parseInput(alarmSchema, event.detail);
  return {
    ...{ eventId: event.id, kind: "alarm", source: event.source },
    reason: short(`alarm ${alarmName} is ${state.value}: ${state.reason}`),
    trouble: state.value !== "OK",
    concerns: ({ trigger }) => trigger.alarms.includes(alarmName),
  };
}

function health(event: SourceEvent): Reading {
  if (event["detail-type"] !== "AWS Health Event") throw unknownKind(event);
  const detail = parseInput(healthSchema, event.detail);
  const region = detail.eventRegion ?? event.region;
  return {
    ...{ eventId: event.id, kind: "health", source: event.source },
    reason: short(`AWS Health: ${detail.eventTypeCode} of ${detail.service} in ${region}`),
    trouble: detail.eventTypeCategory === "issue" && detail.statusCode === "open",
    concerns: ({ trigger }) => trigger.regions.includes(region),
  };
}

function custom(event: SourceEvent): Reading {
  if (event.source.startsWith("aws.")) throw unknownKind(event);
  const detail = parseInput(customSchema, event.detail);
  return {
    ...{ eventId: event.id, kind: "custom", source: event.source },
    reason: detail.reason,
    trouble: true,
    concerns: ({ vpgId, name, protectedSite }) =>
      "vpg" in detail ? [vpgId, name].includes(detail.vpg) : protectedSite === detail.site,
  };
}

const short = (text: string): string => text.slice(0, limits.reasonCharactersMax);

function unknownKind(event: SourceEvent): InvalidInput {
  return new InvalidInput(`events "${event["detail-type"]}" of ${event.source} mean nothing to this site`, {
    field: "detail-type",
  });
}
