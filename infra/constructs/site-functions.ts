import { Duration, RemovalPolicy } from "aws-cdk-lib";
import type { Table } from "aws-cdk-lib/aws-dynamodb";
import { PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { Architecture, type Code, Function as LambdaFunction, LoggingFormat, Runtime } from "aws-cdk-lib/aws-lambda";
import { LogGroup, type RetentionDays } from "aws-cdk-lib/aws-logs";
import type { Bucket } from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { functionFolders, machineFolders, pascalCase } from "../folders.ts";
import { acknowledgeWildcard } from "./acknowledge.ts";
import { type BucketArea, identityObject } from "./bucket-areas.ts";
import { type FunctionSettings, functionSettings, type MachineUse } from "./function-settings.ts";
import { invokeStatements } from "./function-urls.ts";
import { busArn, executionsArn, machineArn, siteName } from "./site-names.ts";

export interface SiteFunctionsProps {
  readonly site: string;
  readonly bucket: Bucket;
  readonly table: Table;
  readonly key: IKey | undefined;
  /** What every function's environment holds. */
  readonly environment: Readonly<Record<string, string>>;
  readonly codeOf: (folder: string) => Code;
  readonly logRetention: RetentionDays;
  readonly reserveConcurrency: boolean;
  /** ARNs of the functions of other sites that this one may call by their URLs. */
  readonly peers: readonly string[];
}

/** A Lambda of each folder of functions/, each with a role of its own that may do what its line of functionSettings says. */
export class SiteFunctions extends Construct {
  readonly #functions = new Map<string, LambdaFunction>();
  readonly #props: SiteFunctionsProps;

  constructor(scope: Construct, id: string, props: SiteFunctionsProps) {
    super(scope, id);
    this.#props = props;
    for (const folder of functionFolders) this.#functions.set(folder, this.#create(folder));
    this.#acknowledge();
  }

  get all(): readonly LambdaFunction[] {
    return [...this.#functions.values()];
  }

  of(folder: string): LambdaFunction {
    const found = this.#functions.get(folder);
    if (found === undefined) throw new Error(`functions/${folder} has no handler.ts`);
    return found;
  }

  #create(folder: string): LambdaFunction {
    const settings = functionSettings[folder];
    if (settings === undefined) {
      throw new Error(`functions/${folder} has no line in infra/constructs/function-settings.ts`);
    }
    const { site, environment, codeOf, logRetention, reserveConcurrency } = this.#props;
    const parts = new Construct(this, pascalCase(folder));
    const logGroup = new LogGroup(parts, "Log", { retention: logRetention, removalPolicy: RemovalPolicy.DESTROY });
    const role = new Role(parts, "Role", { assumedBy: new ServicePrincipal("lambda.amazonaws.com") });
    logGroup.grantWrite(role);
    for (const statement of this.#statements(settings)) role.addToPolicy(statement);
    const { memoryMiB, timeoutSeconds, reservedConcurrency, notifies } = settings;
    return new LambdaFunction(parts, "Function", {
      functionName: siteName(site, folder),
      description: `Farshore, site ${site}: functions/${folder}`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: "index.handler",
      code: codeOf(folder),
      role,
      memorySize: memoryMiB,
      timeout: Duration.seconds(timeoutSeconds),
      ...(reserveConcurrency && reservedConcurrency !== undefined
        ? { reservedConcurrentExecutions: reservedConcurrency }
        : {}),
      loggingFormat: LoggingFormat.JSON,
      logGroup,
      environment: {
        ...environment,
        ...(notifies === undefined ? {} : { FARSHORE_BUS: siteName(site) }),
        NODE_OPTIONS: "--enable-source-maps",
      },
    });
  }

  #statements(settings: FunctionSettings): PolicyStatement[] {
    const { reads, creates, deletes, purges, machines, notifies, callsPeers } = settings;
    const { bucket, table, key, peers } = this.#props;
    const objectsOf = (some: readonly BucketArea[]): string[] => some.map((area) => this.#objects(area));
    const allow = (actions: string[], resources: string[]): PolicyStatement =>
      new PolicyStatement({ actions, resources });
    return [
      allow([...tableActions], [table.tableArn]),
      allow(["s3:GetObject"], [this.#identity(), ...reads.map((area) => this.#objects(area))]),
      // Without it S3 says "forbidden" of an object that isn't there.
      allow(["s3:ListBucket"], [bucket.bucketArn]),
      // The first function that runs gives the site its identity.
      allow(["s3:PutObject"], [this.#identity(), ...creates.map((area) => this.#objects(area))]),
      ...(deletes === undefined ? [] : [allow(["s3:DeleteObject"], objectsOf(deletes))]),
      ...(purges === undefined
        ? []
        : [
            allow(["s3:ListBucketVersions"], [bucket.bucketArn]),
            allow(["s3:DeleteObject", "s3:DeleteObjectVersion"], objectsOf(purges)),
          ]),
      ...machines.map((use) => allow([...machineActions[use]], this.#machineResources(use))),
      ...(notifies === undefined ? [] : [allow(["events:PutEvents"], [busArn(this, this.#props.site)])]),
      ...(callsPeers === undefined || peers.length === 0 ? [] : invokeStatements(peers)),
      ...(key === undefined ? [] : [allow(["kms:Decrypt", "kms:GenerateDataKey"], [key.keyArn])]),
    ];
  }

  #identity(): string {
    return this.#props.bucket.arnForObjects(identityObject);
  }

  #objects(area: string): string {
    return this.#props.bucket.arnForObjects(`${area}/*`);
  }

  #machineResources(use: MachineUse): string[] {
    const folders = machinesOfUse[use] ?? machineFolders;
    const ofExecutions = use === "describe" || use === "stop-move";
    const machines = folders.map((machine) => siteName(this.#props.site, machine));
    return machines.map((name) => (ofExecutions ? executionsArn(this, name) : machineArn(this, name)));
  }

  /** The wildcards that the policies above have. */
  #acknowledge(): void {
    for (const area of areas) {
      acknowledgeWildcard(
        this,
        this.#objects(area),
        "the objects of one area of the bucket; their keys are made at run time",
      );
    }
    for (const name of machineFolders.map((machine) => siteName(this.#props.site, machine))) {
      acknowledgeWildcard(
        this,
        executionsArn(this, name),
        "the executions of one state machine; each operation starts a new one",
      );
    }
  }
}

/** A transaction needs the permission of each of its actions. */
const tableActions = ["GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"].map(
  (action) => `dynamodb:${action}`,
);

const areas: ReadonlySet<string> = new Set(
  Object.values(functionSettings).flatMap(({ reads, creates }) => [...reads, ...creates]),
);

const machineActions: Readonly<Record<MachineUse, readonly string[]>> = {
  start: ["states:StartExecution"],
  "start-sync": ["states:StartExecution"],
  "stop-move": ["states:StopExecution"],
  describe: ["states:DescribeExecution"],
  answer: ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"],
};

/** Of a use that is not of all machines. */
const machinesOfUse: Readonly<Partial<Record<MachineUse, readonly string[]>>> = {
  "start-sync": ["delta-sync"],
  "stop-move": ["move"],
};
