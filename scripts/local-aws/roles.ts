import {
  CloudFormationClient,
  CreateStackCommand,
  DeleteStackCommand,
  UpdateStackCommand,
  waitUntilStackCreateComplete,
  waitUntilStackDeleteComplete,
  waitUntilStackUpdateComplete,
} from "@aws-sdk/client-cloudformation";
import { AssumeRoleCommand, STSClient } from "@aws-sdk/client-sts";
import { until } from "../demo/stage.ts";
import type { AwsAccount } from "./account.ts";
import { clientSettings } from "./clients.ts";

/** Who plays at a site that is tried: an IAM role each. The vandal may do everything in S3, the stranger nothing. */
export const roles = ["operator", "viewer", "source-gateway", "recovery-gateway", "stranger", "vandal"] as const;
export type Role = (typeof roles)[number];

/** A stack of six roles takes AWS half a minute. */
const stackMsMax = 120_000;
/** IAM is eventually consistent: a new role may be assumed after some seconds. */
const assumeMsMax = 60_000;

/** The roles as a person would make them, by one CloudFormation stack, and the credentials of each. */
export class Roles {
  readonly #account: AwsAccount;
  readonly #prefix: string;
  readonly #mayCall: Readonly<Partial<Record<Role, string>>>;
  readonly #client: CloudFormationClient;

  /** `mayCall`: functions of other accounts, by an ARN with wildcards, that a role may call by their URLs where they let it. */
  constructor(account: AwsAccount, prefix: string, mayCall: Readonly<Partial<Record<Role, string>>> = {}) {
    this.#account = account;
    this.#prefix = prefix;
    this.#mayCall = mayCall;
    this.#client = new CloudFormationClient(clientSettings(account));
  }

  arn(role: Role): string {
    return `arn:aws:iam::${this.#account.accountId}:role/${this.#name(role)}`;
  }

  async create(): Promise<void> {
    const StackName = this.#stack;
    await this.#client.send(
      new CreateStackCommand({ StackName, TemplateBody: this.#template({}), Capabilities: ["CAPABILITY_NAMED_IAM"] }),
    );
    await waitUntilStackCreateComplete({ client: this.#client, maxWaitTime: stackMsMax / 1000 }, { StackName });
  }

  /** Attaches managed policies to roles, in place of those attached before. */
  async attach(policies: Readonly<Partial<Record<Role, string>>>): Promise<void> {
    const StackName = this.#stack;
    const TemplateBody = this.#template(policies);
    await this.#client.send(
      new UpdateStackCommand({ StackName, TemplateBody, Capabilities: ["CAPABILITY_NAMED_IAM"] }),
    );
    await waitUntilStackUpdateComplete({ client: this.#client, maxWaitTime: stackMsMax / 1000 }, { StackName });
  }

  async remove(): Promise<void> {
    const StackName = this.#stack;
    await this.#client.send(new DeleteStackCommand({ StackName }));
    await waitUntilStackDeleteComplete({ client: this.#client, maxWaitTime: stackMsMax / 1000 }, { StackName });
  }

  /** The environment of a process that is this role. */
  async assume(role: Role): Promise<Readonly<Record<string, string>>> {
    const client = new STSClient(clientSettings(this.#account));
    const ask = new AssumeRoleCommand({ RoleArn: this.arn(role), RoleSessionName: `farshore-${role}` });
    const { Credentials: given } = await until(`the role ${role}`, assumeMsMax, () => client.send(ask));
    return {
      // A profile of the deployer's would win over the keys.
      AWS_PROFILE: "",
      AWS_REGION: this.#account.region,
      AWS_ACCESS_KEY_ID: given?.AccessKeyId ?? "",
      AWS_SECRET_ACCESS_KEY: given?.SecretAccessKey ?? "",
      AWS_SESSION_TOKEN: given?.SessionToken ?? "",
    };
  }

  get #stack(): string {
    return `${this.#prefix}farshore-test-roles`;
  }

  #name(role: Role): string {
    return `${this.#prefix}farshore-test-${role}`;
  }

  #template(policies: Readonly<Partial<Record<Role, string>>>): string {
    const trust = (account: string) => ({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Principal: { AWS: `arn:aws:iam::${account}:root` }, Action: "sts:AssumeRole" }],
    });
    const allowed = (PolicyName: string, Action: string | readonly string[], Resource: string) => ({
      PolicyName,
      PolicyDocument: { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action, Resource }] },
    });
    const policiesOf = (role: Role) => [
      // What a careless administrator may have: only the bucket's own policy still stands against it.
      ...(role === "vandal" ? [allowed("s3", "s3:*", "*")] : []),
      ...(this.#mayCall[role] === undefined
        ? []
        : [allowed("elsewhere", ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"], this.#mayCall[role])]),
    ];
    const resources = roles.map((role) => [
      role.replaceAll("-", ""),
      {
        Type: "AWS::IAM::Role",
        Properties: {
          RoleName: this.#name(role),
          AssumeRolePolicyDocument: trust(this.#account.accountId),
          ...(policies[role] === undefined ? {} : { ManagedPolicyArns: [policies[role]] }),
          ...(policiesOf(role).length === 0 ? {} : { Policies: policiesOf(role) }),
        },
      },
    ]);
    return JSON.stringify({ AWSTemplateFormatVersion: "2010-09-09", Resources: Object.fromEntries(resources) });
  }
}
