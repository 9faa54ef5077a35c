import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { nameSchema } from "#core/ids.ts";
import { parsePrincipal } from "#core/protection/principals.ts";

const principals = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== ""),
  )
  .refine((arns) => arns.every((arn) => parsePrincipal(arn) !== undefined), "must be ARNs of IAM roles or users");

/**
 * The environment of a deployed function: infra/ sets it, nothing else configures a site on AWS. `AWS_REGION`, credentials and
 * `AWS_ENDPOINT_URL` (a local AWS) are the SDK's own and stand beside it.
 */
const environmentSchema = z.object({
  /** The site's name; its id is in the bucket, made by the first function that runs. */
  FARSHORE_SITE_NAME: nameSchema,
  FARSHORE_BUCKET: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "must be the name of an S3 bucket"),
  /** Twelve digits: S3 refuses a bucket of that name in anybody else's account. */
  FARSHORE_BUCKET_OWNER: z
    .string()
    .regex(/^\d{12}$/, "must be an account's twelve digits")
    .optional(),
  FARSHORE_TABLE: z.string().regex(/^[A-Za-z0-9_.-]{3,255}$/, "must be the name of a DynamoDB table"),
  /**
   * What stands before a folder's name of workflows/ in its state machine's ARN. A prefix and not a list, for a function that a
   * state machine calls could not know that machine's ARN before it is made.
   */
  FARSHORE_STATE_MACHINE_PREFIX: z
    .string()
    .regex(/^arn:[a-z-]+:states:[a-z0-9-]+:\d{12}:stateMachine:[A-Za-z0-9_-]*$/, "must be the beginning of an ARN"),
  /** IAM roles and users, by commas, that are operators from the start; they register everybody else. */
  FARSHORE_OPERATOR_ARNS: principals,
  /** Where gateways send batches; gateway-api alone needs it, and tells them. */
  FARSHORE_INGEST_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Name or ARN of the site's own bus; site-monitor alone needs it, to tell people. */
  FARSHORE_BUS: z.string().min(1).max(1600).optional(),
  FARSHORE_LOG_LEVEL: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
});

export interface AwsEnvironment {
  readonly siteName: string;
  readonly bucket: string;
  readonly bucketOwner: string | undefined;
  readonly table: string;
  readonly stateMachinePrefix: string;
  readonly operatorArns: readonly string[];
  readonly ingestUrl: string | undefined;
  readonly bus: string | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
}

/** The names that infra/ sets for every function. */
export const environmentNames: readonly string[] = Object.keys(environmentSchema.shape);

/** The environment, checked. Throws `InvalidInput` naming every variable that is missing or wrong. */
export function readAwsEnvironment(env: Readonly<Record<string, string | undefined>>): AwsEnvironment {
  const parsed = environmentSchema.safeParse(env);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
    throw new InvalidInput(`this function's environment is not that of a site: ${wrong}. Deploy infra/ again`);
  }
  const found = parsed.data;
  return {
    siteName: found.FARSHORE_SITE_NAME,
    bucket: found.FARSHORE_BUCKET,
    bucketOwner: found.FARSHORE_BUCKET_OWNER,
    table: found.FARSHORE_TABLE,
    stateMachinePrefix: found.FARSHORE_STATE_MACHINE_PREFIX,
    operatorArns: found.FARSHORE_OPERATOR_ARNS,
    ingestUrl: found.FARSHORE_INGEST_URL,
    bus: found.FARSHORE_BUS,
    logLevel: found.FARSHORE_LOG_LEVEL,
  };
}
