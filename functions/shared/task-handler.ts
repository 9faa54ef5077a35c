import type { z } from "zod";
import { parseInput } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { configuredSite } from "./site.ts";

/** A Lambda that a state machine invokes: parses what the state gave it and does one idempotent task at the site. */
export function taskHandler<Input, Result>(
  schema: z.ZodType<Input>,
  work: (site: Site, input: Input) => Promise<Result>,
): (event: unknown) => Promise<Result> {
  return async (event) => work(configuredSite(), parseInput(schema, event));
}
