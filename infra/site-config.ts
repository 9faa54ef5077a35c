import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { readToml } from "../cli/read-toml.ts";
import { infraLimits as limits } from "./limits.ts";

const accountPattern = /^\d{12}$/;
const arnPattern = /^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/[\w+=,.@/-]{1,512}$/;
const busArnPattern = /^arn:aws[a-z-]*:events:[a-z0-9-]+:\d{12}:event-bus\/[\w./-]{1,256}$/;
const functionArnPattern = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:[\w-]{1,64}$/;
const accountSchema = z.string().regex(accountPattern, "must be an account of 12 digits");
const isPrincipal = (text: string): boolean => accountPattern.test(text) || arnPattern.test(text);
/** An AWS account, or one role or user of it. */
const principalSchema = z
  .string()
  .refine(isPrincipal, "must be an account of 12 digits or the ARN of an IAM role or user");

const nameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "must be of a-z, 0-9 and inner hyphens")
  .max(limits.siteNameCharactersMax);
const regionSchema = z
  .string()
  .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be the name of a region, such as "eu-central-1"');

const siteSchema = z.strictObject({
  name: nameSchema,
  /** Both or none; without them the site goes where the deployer's credentials point. */
  account: accountSchema.optional(),
  region: regionSchema.optional(),
  /** Who encrypts bucket and table: S3 and DynamoDB with their own keys, or one customer key of this site. */
  encryption: z.enum(["service", "kms"]).default("service"),
  /** Operators from the start. */
  operators: z
    .array(z.string().regex(arnPattern, "must be the ARN of an IAM role or user"))
    .max(limits.principalsMax)
    .default([]),
  /** Who else may call the URLs for people, and those for gateways; in the site's own account a policy on their roles does too. */
  gateways: z.array(principalSchema).max(limits.principalsMax).default([]),
  people: z.array(principalSchema).max(limits.principalsMax).default([]),
  /** Functions of other sites that take reverse protection's offers, by their ARNs; each must know this site's role as its peer. */
  peers: z
    .array(z.string().regex(functionArnPattern, "must be the ARN of a Lambda function"))
    .max(limits.principalsMax)
    .default([]),
  /** Accounts that may put events onto the site's bus. */
  event_accounts: z.array(accountSchema).max(limits.principalsMax).default([]),
  alarm_emails: z.array(z.email()).max(limits.alarmEmailsMax).default([]),
  log_retention_days: z
    .literal([1, 3, 5, 7, 14, 30, 60, 90, 180, 365], { error: "must be a number of days that CloudWatch Logs has" })
    .default(30),
  /** Off where the account's Lambda quota is too small to set concurrency aside (new accounts have 10). */
  reserve_concurrency: z.boolean().default(true),
  /** Lifts what keeps journal, table and key when the stack is deleted. */
  remove_data: z.boolean().default(false),
});

const forwardSchema = z.strictObject({
  name: nameSchema,
  account: accountSchema,
  region: regionSchema,
  /** Buses of sites, by their ARNs. */
  to: z.array(z.string().regex(busArnPattern, "must be the ARN of an event bus")).min(1).max(limits.ruleTargetsMax),
});

const fileSchema = z.strictObject({
  site: z.array(siteSchema).min(1).max(limits.sitesMax),
  forward: z.array(forwardSchema).max(limits.sitesMax).default([]),
});

/** One site to deploy, by its table in the configuration file. */
export type SiteConfig = Readonly<z.infer<typeof siteSchema>>;

/** A region whose alarms and AWS Health are told to sites elsewhere. */
export type ForwardConfig = Readonly<z.infer<typeof forwardSchema>>;

/** Everything to deploy, each a stack of its own. */
export interface DeployConfig {
  readonly sites: readonly SiteConfig[];
  readonly forwards: readonly ForwardConfig[];
}

/** What a configuration file says. Throws `InvalidInput` that names the file, the key and what is wrong. */
export function readConfig(file: string): DeployConfig {
  const { site: sites, forward: forwards } = readToml(file, fileSchema);
  assertApart([...sites, ...forwards.map(({ name, ...rest }) => ({ ...rest, name: forwardName(name) }))], file);
  return { sites, forwards };
}

/** What a forward is called among the sites, as its stack is. */
export const forwardName = (name: string): string => `forward-${name}`;

/** The same of one site given as an object: for tests. */
export function parseSite(value: unknown): SiteConfig {
  return siteSchema.parse(value);
}

/** Names, because stacks are named after them; and either both or none of account and region. */
function assertApart(stacks: readonly Pick<SiteConfig, "name" | "account" | "region">[], file: string): void {
  const names = new Set<string>();
  for (const { name, account, region } of stacks) {
    if (names.has(name)) throw new InvalidInput(`${file}: two sites have the name "${name}"`, { field: "name" });
    names.add(name);
    if ((account === undefined) !== (region === undefined)) {
      throw new InvalidInput(`${file}: site "${name}" needs both account and region, or neither`, { field: "region" });
    }
  }
}
