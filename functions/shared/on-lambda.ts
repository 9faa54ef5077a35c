/**
 * The first module of every deployed function: infra/ puts it before the handler. It opens the site from
 * the environment (adapters/aws/environment.ts), so that a function that is deployed wrongly fails at its start, by name, and
 * not in a failover. Callers are known by IAM alone here.
 */
import { readAwsEnvironment } from "#adapters/aws/environment.ts";
import { createMeasure } from "#adapters/aws/measure.ts";
import { openAwsSite } from "#adapters/aws/open-aws-site.ts";
import { configureHost } from "./site.ts";

const environment = readAwsEnvironment(process.env);
configureHost({
  site: await openAwsSite(environment),
  authentication: { kind: "iam", operatorArns: environment.operatorArns },
  ingestUrl: environment.ingestUrl,
  measure: createMeasure(environment.siteName),
});
