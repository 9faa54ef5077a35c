import { parseArgs } from "node:util";
import { faultNames } from "./actors/all.ts";
import { stepsDefault } from "./limits.ts";

const options = {
  minutes: { type: "string" },
  seed: { type: "string" },
  steps: { type: "string" },
  faults: { type: "string" },
  detail: { type: "boolean" },
  "shrink-runs": { type: "string" },
  help: { type: "boolean" },
} as const;

/** What `npm run sim` is to do. */
export interface Asked {
  readonly help: boolean;
  /** Undefined for a fresh one. */
  readonly seed: number | undefined;
  readonly steps: number;
  readonly minutes: number;
  /** Undefined for all of them. */
  readonly faults: readonly string[] | undefined;
  readonly detail: boolean;
  readonly shrinkRuns: number;
}

/** Throws `TypeError` that names the option which makes no sense. */
export function askedBy(args: readonly string[]): Asked {
  const { values } = parseArgs({ args: [...args], options });
  const seed = values.seed === undefined ? undefined : wholeOf("seed", values.seed, 0);
  const faults = values.faults?.split(",").map((name) => name.trim());
  const unknown = faults?.find((name) => name !== "none" && !faultNames.includes(name));
  if (unknown !== undefined) throw new TypeError(`--faults: there is no fault "${unknown}"`);
  return {
    ...{ help: values.help === true, seed, faults, detail: values.detail === true },
    steps: wholeOf("steps", values.steps ?? `${stepsDefault}`, 1),
    minutes: minutesOf(values.minutes ?? (seed === undefined ? "1" : "0")),
    shrinkRuns: wholeOf("shrink-runs", values["shrink-runs"] ?? "150", 0),
  };
}

function wholeOf(option: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
  throw new TypeError(`--${option} takes a whole number from ${least} on, not "${text}"`);
}

function minutesOf(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw new TypeError(`--minutes takes a number, not "${text}"`);
}
