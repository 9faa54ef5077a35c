import { z } from "zod";
import { errorFromWire, type FarshoreError } from "#core/errors.ts";

const schema = z.object({
  error: z.object({
    name: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
  }),
});

/** The error that a site's reply names; undefined for a reply that isn't a site's. */
export function wireErrorOf(reply: unknown): FarshoreError | undefined {
  const parsed = schema.safeParse(reply);
  if (!parsed.success) return undefined;
  const { name, message, details } = parsed.data.error;
  return errorFromWire(name, message, details ?? {});
}
