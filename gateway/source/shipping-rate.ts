import { z } from "zod";
import type { Clock } from "#core/ports.ts";
import type { ThrottleConfig } from "../config.ts";
import type { StateStore } from "../state/state-directory.ts";

const documentName = "throttle";
const stateSchema = z.strictObject({ formatVersion: z.literal(1), bytesPerSecond: z.int().min(1).nullable() });

/** How fast this gateway may ship: the lower of what an operator ordered, which outlives a restart, and what its configuration says of this hour. */
export class ShippingRate {
  readonly #state: StateStore;
  readonly #clock: Clock;
  readonly #schedule: readonly ThrottleConfig[];
  #ordered: number | null;

  private constructor(state: StateStore, clock: Clock, schedule: readonly ThrottleConfig[], ordered: number | null) {
    this.#state = state;
    this.#clock = clock;
    this.#schedule = schedule;
    this.#ordered = ordered;
  }

  static async load(state: StateStore, clock: Clock, schedule: readonly ThrottleConfig[]): Promise<ShippingRate> {
    const stored = await state.read(documentName, stateSchema);
    return new ShippingRate(state, clock, schedule, stored?.bytesPerSecond ?? null);
  }

  /** Durable once it resolves; null for no limit beside the schedule's. */
  async order(bytesPerSecond: number | null): Promise<void> {
    await this.#state.write(documentName, { formatVersion: 1, bytesPerSecond });
    this.#ordered = bytesPerSecond;
  }

  /** Undefined for no limit. */
  now(): number | undefined {
    const scheduled = this.#schedule
      .filter((entry) => applies(entry, this.#clock.now()))
      .map(({ bytesPerSecond }) => bytesPerSecond);
    const rates = [...scheduled, ...(this.#ordered === null ? [] : [this.#ordered])];
    return rates.length === 0 ? undefined : Math.min(...rates);
  }
}

const days: readonly string[] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/** At `now` by the entry's time zone. An interval that goes past midnight belongs to the day on which it begins. */
function applies({ fromMinute, toMinute, days: on, timeZone }: ThrottleConfig, now: number): boolean {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).formatToParts(now);
  const part = (type: string): string => parts.find((each) => each.type === type)?.value ?? "";
  const today = days.indexOf(part("weekday").toLowerCase());
  const minute = Number(part("hour")) * 60 + Number(part("minute"));
  const onDay = (day: number): boolean => on.includes(days[(day + 7) % 7] ?? "");
  if (fromMinute < toMinute) return onDay(today) && minute >= fromMinute && minute < toMinute;
  return (onDay(today) && minute >= fromMinute) || (onDay(today - 1) && minute < toMinute);
}
