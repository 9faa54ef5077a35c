import { randomBytes } from "node:crypto";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { billOf } from "#core/cost/bill.ts";
import { usEast1 } from "#core/cost/prices.ts";
import { add, invocation, monthSeconds, multiply, runs, siteUsage } from "#core/cost/usage.ts";
import type { Ground, LocalAws } from "./ground.ts";

/** A run: two sites for an hour, which is how alarms are billed, and more calls and state transitions than one makes. */
const sites = multiply(siteUsage({ ownKey: false, vpgs: 1 }), 2);
const calls = multiply(
  add(invocation(runs.ingest), { s3Puts: 1, s3Gets: 1, dynamodbWrites: 1, dynamodbReads: 5 }),
  5000,
);
const hoursPerMonth = monthSeconds / 3600;
const runUsd = billOf(add(multiply(sites, 1 / hoursPerMonth), calls, { transitions: 1000 }), usEast1).usd;
const leftUsd = billOf(sites, usEast1).usd;
const estimate = `A run costs about $${runUsd.toFixed(2)} by list prices of ${usEast1.region}; what a failed clean-up leaves behind, $${leftUsd.toFixed(0)} a month.`;

async function ground(region: string): Promise<Ground> {
  const { Account } = await new STSClient({ region }).send(new GetCallerIdentityCommand());
  if (Account === undefined) throw new Error("AWS does not say whose credentials these are");
  return {
    region,
    accountId: Account,
    env: { AWS_REGION: region, AWS_DEFAULT_REGION: region },
    // A region can't be switched off: there only the protected site's gateway and application are killed.
    cut: async () => {},
    restore: async () => {},
  };
}

function regions(): readonly [paris: string, berlin: string] {
  const { FARSHORE_TEST_AWS_REGION: berlin, FARSHORE_TEST_AWS_PROTECTED_REGION: paris = berlin } = process.env;
  if (berlin === undefined || paris === undefined) {
    throw new Error("FARSHORE_TEST_AWS=1 also needs FARSHORE_TEST_AWS_REGION, the region where the sites are made");
  }
  if (process.env["AWS_ENDPOINT_URL"] !== undefined) {
    throw new Error("FARSHORE_TEST_AWS=1 is for an account of AWS: unset AWS_ENDPOINT_URL");
  }
  return [paris, berlin];
}

/** An account of AWS, by whatever credentials the SDK finds. Everything made has a prefix of its own and is removed again. */
export const accountAws: LocalAws = {
  name: "an AWS account",
  authorizes: true,
  namePrefix: `t${randomBytes(3).toString("hex")}-`,
  async whyNot() {
    return process.env["FARSHORE_TEST_AWS"] === "1"
      ? undefined
      : "makes two sites in an AWS account, which costs some cents";
  },
  async open() {
    const [paris, berlin] = await Promise.all(regions().map(ground));
    if (paris === undefined || berlin === undefined) throw new Error("no regions");
    console.info(`${estimate}
Account ${berlin.accountId}, ${paris.region} and ${berlin.region}. Everything is called farshore-${this.namePrefix}… or
${this.namePrefix}farshore-test-…, and is removed at the end; if this run is killed, delete those stacks by hand.`);
    return { paris, berlin, close: async () => {} };
  },
};
