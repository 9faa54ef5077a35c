import middy from "@middy/core";
import type { Context } from "aws-lambda";
import type { z } from "zod";
import { parseInput } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { isOurFault } from "./error-reply.ts";
import { configuredSite } from "./site.ts";

export type TaskHandler<Result> = (event: unknown, context: Context) => Promise<Result>;

/** A Lambda that a state machine invokes: parses what the state gave it and does one idempotent task at the site. */
export function taskHandler<Input, Result>(
  schema: z.ZodType<Input>,
  work: (site: Site, input: Input) => Promise<Result>,
): TaskHandler<Result> {
  return middy<unknown, Result>()
    .use(taskLog)
    .handler((event: unknown) => work(configuredSite(), parseInput(schema, event)));
}

/** The error goes on to the state machine by its name; only what no name foresees is told here, with its stack. */
const taskLog: middy.MiddlewareObj<unknown, unknown> = {
  onError: ({ error, context }) => {
    if (!isOurFault(error)) return;
    configuredSite().log.error("task-failed", { function: context.functionName, cause: error });
  },
};
