import { z } from "zod";
import { idSchema } from "#core/ids.ts";

/** What an operation noted on a checkpoint; the bucket object `annotations/<vpg>/<position>/<operation>.json`. */
export const annotationSchema = z.object({
  formatVersion: z.literal(1),
  vpgId: idSchema,
  checkpointId: z.string(),
  operationId: idSchema,
  tag: z.string(),
  createdAt: z.int(),
});
export type Annotation = z.infer<typeof annotationSchema>;
