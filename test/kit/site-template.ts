import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { Code } from "aws-cdk-lib/aws-lambda";
import { z } from "zod";
import { parseSite } from "../../infra/site-config.ts";
import { SiteStack } from "../../infra/site-stack.ts";
import { type Statement, statementSchema } from "./iam-policies.ts";

const resourceSchema = z.looseObject({
  Type: z.string(),
  Properties: z.record(z.string(), z.unknown()).default({}),
  DeletionPolicy: z.string().optional(),
});
type Resource = z.infer<typeof resourceSchema>;
const templateSchema = z.looseObject({
  Resources: z.record(z.string(), resourceSchema),
  Outputs: z.record(z.string(), z.object({ Value: z.unknown() })),
});

export const testAccount = "111111111111";
export const testRegion = "eu-central-1";

/** A synthesized site whose references are put in: logical ids stand for names that CloudFormation would make up. */
export class SiteTemplate {
  readonly template: Template;
  readonly #resources: Readonly<Record<string, Resource>>;
  readonly #outputs: Readonly<Record<string, { readonly Value: unknown }>>;

  /** `config` is a [[site]] of the configuration file; functions are not bundled. */
  constructor(config: Readonly<Record<string, unknown>> = {}) {
    const site = parseSite({ name: "berlin", account: testAccount, region: testRegion, ...config });
    // The CDK's own validation takes three seconds of CPU each time; one test of infra/site-stack.test.ts has it.
    const app = new App({ builtinCloudFormationValidation: false });
    const stack = new SiteStack(app, site, () => Code.fromInline("// not of this test"));
    this.template = Template.fromStack(stack);
    const parsed = templateSchema.parse(this.template.toJSON());
    this.#resources = parsed.Resources;
    this.#outputs = parsed.Outputs;
  }

  /** Properties of all resources of a type, by logical id. */
  all(type: string): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
    const of = Object.entries(this.#resources).filter(([, { Type }]) => Type === type);
    return new Map(
      of.map(([id, { Properties }]) => [id, z.record(z.string(), z.unknown()).parse(this.resolve(Properties))]),
    );
  }

  /** Types of resources that it has. */
  get types(): ReadonlySet<string> {
    return new Set(Object.values(this.#resources).map(({ Type }) => Type));
  }

  deletionPolicy(id: string): string | undefined {
    return this.#resources[id]?.DeletionPolicy;
  }

  output(name: string): string {
    const found = this.#outputs[name];
    if (found === undefined) throw new Error(`no output ${name}`);
    return String(this.resolve(found.Value));
  }

  /** ARN of the only resource of a type. */
  arnOf(type: string): string {
    const [id, ...others] = this.all(type).keys();
    if (id === undefined || others.length > 0) throw new Error(`${others.length + 1} resources are ${type}`);
    return this.#arn(id);
  }

  /** ARN of the role that a function of functions/ runs as. */
  roleOf(folder: string): string {
    for (const { FunctionName, Role } of this.all("AWS::Lambda::Function").values())
      if (FunctionName === `farshore-berlin-${folder}`) return String(Role);
    throw new Error(`no function ${folder}`);
  }

  /** Statements of the policies attached to a role. */
  identityOf(roleArn: string): readonly Statement[] {
    return [...this.all("AWS::IAM::Policy").values()].flatMap(({ Roles, PolicyDocument }) => {
      const names = z
        .array(z.string())
        .parse(Roles)
        .map((name) => `arn:aws:iam::${testAccount}:role/${name}`);
      return names.includes(roleArn) ? statementsOf(PolicyDocument) : [];
    });
  }

  get bucketPolicy(): readonly Statement[] {
    return [...this.all("AWS::S3::BucketPolicy").values()].flatMap(({ PolicyDocument }) =>
      statementsOf(PolicyDocument),
    );
  }

  /** References, joins and attributes replaced by what they would be in a deployed stack. */
  resolve(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.resolve(item));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value);
    const [name, argument] = entries[0] ?? [];
    if (entries.length === 1 && name === "Ref") return this.#ref(String(argument));
    if (entries.length === 1 && name === "Fn::GetAtt")
      return this.#attribute(z.tuple([z.string(), z.string()]).parse(argument));
    if (entries.length === 1 && name === "Fn::Join") {
      const [separator, parts] = z.tuple([z.string(), z.array(z.unknown())]).parse(argument);
      return parts.map((part) => String(this.resolve(part))).join(separator);
    }
    if (name?.startsWith("Fn::")) throw new TypeError(`this test kit does not know ${name}`);
    return Object.fromEntries(entries.map(([key, item]) => [key, this.resolve(item)]));
  }

  #ref(id: string): string {
    const pseudo: Readonly<Record<string, string>> = {
      "AWS::Partition": "aws",
      "AWS::AccountId": testAccount,
      "AWS::Region": testRegion,
      "AWS::URLSuffix": "amazonaws.com",
    };
    const type = this.#resources[id]?.Type;
    const isArn = ["AWS::StepFunctions::StateMachine", "AWS::SNS::Topic", "AWS::IAM::ManagedPolicy"].includes(
      type ?? "",
    );
    return pseudo[id] ?? (isArn ? this.#arn(id) : this.#nameOf(id));
  }

  #attribute([id, attribute]: readonly [string, string]): string {
    return attribute === "Arn" || attribute === "FunctionArn" ? this.#arn(id) : `${this.#nameOf(id)}.${attribute}`;
  }

  #nameOf(id: string): string {
    const { Properties = {} } = this.#resources[id] ?? {};
    const given = Object.entries(Properties).find(([key]) =>
      /^(Name|FunctionName|StateMachineName|TopicName|LogGroupName)$/.test(key),
    );
    return given === undefined ? id : String(this.resolve(given[1]));
  }

  #arn(id: string): string {
    const name = this.#nameOf(id);
    const here = `${testRegion}:${testAccount}`;
    const arns: Readonly<Record<string, string>> = {
      "AWS::S3::Bucket": `arn:aws:s3:::${name}`,
      "AWS::DynamoDB::Table": `arn:aws:dynamodb:${here}:table/${name}`,
      "AWS::Lambda::Function": `arn:aws:lambda:${here}:function:${name}`,
      "AWS::IAM::Role": `arn:aws:iam::${testAccount}:role/${name}`,
      "AWS::IAM::ManagedPolicy": `arn:aws:iam::${testAccount}:policy/${name}`,
      "AWS::Logs::LogGroup": `arn:aws:logs:${here}:log-group:${name}:*`,
      "AWS::StepFunctions::StateMachine": `arn:aws:states:${here}:stateMachine:${name}`,
      "AWS::SNS::Topic": `arn:aws:sns:${here}:${name}`,
      "AWS::SQS::Queue": `arn:aws:sqs:${here}:${name}`,
      "AWS::KMS::Key": `arn:aws:kms:${here}:key/${name}`,
      "AWS::Events::EventBus": `arn:aws:events:${here}:event-bus/${name}`,
      "AWS::Events::Rule": `arn:aws:events:${here}:rule/${name}`,
      "AWS::CloudWatch::Alarm": `arn:aws:cloudwatch:${here}:alarm:${name}`,
    };
    const type = this.#resources[id]?.Type ?? "";
    const arn = arns[type];
    if (arn === undefined) throw new TypeError(`this test kit does not know the ARN of ${id} (${type})`);
    return arn;
  }
}

export function statementsOf(document: unknown): readonly Statement[] {
  return z.object({ Statement: z.array(statementSchema) }).parse(document).Statement;
}
