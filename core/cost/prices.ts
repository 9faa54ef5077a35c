import { z } from "zod";

/** What AWS bills. A usage counts in these, a price list prices them. */
const meterSchema = z.enum([
  ...(["s3Puts", "s3Gets", "s3StoredGb"] as const),
  ...(["dynamodbWrites", "dynamodbReads", "dynamodbStoredGb", "dynamodbBackupGb"] as const),
  ...(["lambdaRequests", "lambdaGbSeconds", "transitions"] as const),
  ...(["logsInGb", "logsStoredGb", "metrics", "alarms", "dashboards"] as const),
  ...(["events", "kmsKeys", "kmsRequests"] as const),
  ...(["transferInGb", "transferOutGb", "transferBetweenRegionsGb"] as const),
]);
export type Meter = z.infer<typeof meterSchema>;

/** All of them, in the order of a bill. */
export const meterNames: readonly Meter[] = meterSchema.options;

/** A GB is 2^30 bytes, as AWS counts. */
export const meters: Readonly<Record<Meter, { readonly service: string; readonly unit: string }>> = {
  s3Puts: { service: "S3", unit: "PUT requests" },
  s3Gets: { service: "S3", unit: "GET requests" },
  s3StoredGb: { service: "S3", unit: "GB stored" },
  dynamodbWrites: { service: "DynamoDB", unit: "write units" },
  dynamodbReads: { service: "DynamoDB", unit: "read units" },
  dynamodbStoredGb: { service: "DynamoDB", unit: "GB stored" },
  dynamodbBackupGb: { service: "DynamoDB", unit: "GB kept for point-in-time recovery" },
  lambdaRequests: { service: "Lambda", unit: "requests" },
  lambdaGbSeconds: { service: "Lambda", unit: "GB-seconds" },
  transitions: { service: "Step Functions", unit: "state transitions" },
  logsInGb: { service: "CloudWatch", unit: "GB of logs written" },
  logsStoredGb: { service: "CloudWatch", unit: "GB of logs stored" },
  metrics: { service: "CloudWatch", unit: "custom metrics" },
  alarms: { service: "CloudWatch", unit: "alarms" },
  dashboards: { service: "CloudWatch", unit: "dashboards" },
  events: { service: "EventBridge", unit: "custom events" },
  kmsKeys: { service: "KMS", unit: "keys" },
  kmsRequests: { service: "KMS", unit: "requests" },
  transferInGb: { service: "Data transfer", unit: "GB in" },
  transferOutGb: { service: "Data transfer", unit: "GB out to the internet" },
  transferBetweenRegionsGb: { service: "Data transfer", unit: "GB from another region" },
};

const priceSchema = z.strictObject({
  /** Dollars for `per` units; of what is stored or kept, for a month. */
  usd: z.number().min(0),
  per: z.int().min(1),
  /** Where the figure stands. */
  source: z.string().min(1),
});

/** A file of prices: those that it lacks are the list's own. */
export const pricesFileSchema = z.strictObject({
  region: z.string().min(1),
  asOf: z.iso.date(),
  prices: z.partialRecord(meterSchema, priceSchema),
});
export type PricesFile = z.infer<typeof pricesFileSchema>;

export interface PriceList {
  readonly region: string;
  /** The day on which the figures were looked up. */
  readonly asOf: string;
  readonly prices: Readonly<Record<Meter, z.infer<typeof priceSchema>>>;
}

/** This list with a file's figures in it. */
export function withPrices(list: PriceList, file: PricesFile): PriceList {
  return { region: file.region, asOf: file.asOf, prices: { ...list.prices, ...file.prices } };
}

const million = 1_000_000;
const page = (service: string): string => `https://aws.amazon.com/${service}/pricing/`;

/**
 * On-demand list prices of us-east-1, first tier, without free tiers and without tax. Lambda, Step Functions and traffic were
 * looked up in copies of the pages named; S3, DynamoDB's requests, logs, metrics and alarms in third parties' tables of them of
 * 2024 to 2026. DynamoDB's storage and backup, dashboards, EventBridge and KMS could not be looked up: check them before you rely on them.
 */
export const usEast1: PriceList = {
  region: "us-east-1",
  asOf: "2026-11-22",
  prices: {
    s3Puts: { usd: 0.005, per: 1000, source: page("s3") },
    s3Gets: { usd: 0.0004, per: 1000, source: page("s3") },
    s3StoredGb: { usd: 0.023, per: 1, source: page("s3") },
    dynamodbWrites: { usd: 0.625, per: million, source: page("dynamodb") },
    dynamodbReads: { usd: 0.125, per: million, source: page("dynamodb") },
    dynamodbStoredGb: { usd: 0.25, per: 1, source: page("dynamodb") },
    dynamodbBackupGb: { usd: 0.2, per: 1, source: page("dynamodb") },
    lambdaRequests: { usd: 0.2, per: million, source: page("lambda") },
    lambdaGbSeconds: { usd: 13.3334, per: million, source: page("lambda") },
    transitions: { usd: 0.025, per: 1000, source: page("step-functions") },
    logsInGb: { usd: 0.5, per: 1, source: page("cloudwatch") },
    logsStoredGb: { usd: 0.03, per: 1, source: page("cloudwatch") },
    metrics: { usd: 0.3, per: 1, source: page("cloudwatch") },
    alarms: { usd: 0.1, per: 1, source: page("cloudwatch") },
    dashboards: { usd: 3, per: 1, source: page("cloudwatch") },
    events: { usd: 1, per: million, source: page("eventbridge") },
    kmsKeys: { usd: 1, per: 1, source: page("kms") },
    kmsRequests: { usd: 0.03, per: 10_000, source: page("kms") },
    transferInGb: { usd: 0, per: 1, source: page("ec2") },
    transferOutGb: { usd: 0.09, per: 1, source: page("ec2") },
    transferBetweenRegionsGb: { usd: 0.02, per: 1, source: page("ec2") },
  },
};
