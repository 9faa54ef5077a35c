import { randomBytes } from "node:crypto";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import type { Ground, LocalAws } from "./ground.ts";

/** What a run costs: two sites for half an hour, a few thousand requests. Alarms and dashboards are billed by the hour. */
const estimate = `About $0.10, by list prices of us-east-1: some 36 alarms and 2 dashboards for an hour $0.02, a few thousand
invocations, requests and state transitions $0.05. What a failed clean-up leaves behind costs about $6 a month.`;

async function ground(region: string): Promise<Ground> {
  const { Account } = await new STSClient({ region }).send(new GetCallerIdentityCommand());
  if (Account === undefined) throw new Error("AWS does not say whose credentials these are");
  return {
    region,
    accountId: Account,
    env: { AWS_REGION: region, AWS_DEFAULT_REGION: region },
    // A region can't be switched off: there only the protected site's gateway and application are killed.
    cut: async () => {},
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
    return process.env["FARSHORE_TEST_AWS"] === "1" ? undefined : "makes two sites in an AWS account, for about $0.10";
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
