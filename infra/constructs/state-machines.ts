import { RemovalPolicy, Validations } from "aws-cdk-lib";
import { PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import type { Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import { LogGroup, type RetentionDays } from "aws-cdk-lib/aws-logs";
import { DefinitionBody, LogLevel, StateMachine, StateMachineType } from "aws-cdk-lib/aws-stepfunctions";
import { Construct } from "constructs";
import { machineDocument, machineFolders, pascalCase } from "../folders.ts";
import { acknowledgeWildcard } from "./acknowledge.ts";
import { executionsArn, machineArn, siteName } from "./site-names.ts";

export interface StateMachinesProps {
  readonly site: string;
  readonly functionOf: (folder: string) => LambdaFunction;
  readonly logRetention: RetentionDays;
}

/** The documents of workflows/, as they are, with the ARNs of this site's functions put in. */
export class StateMachines extends Construct {
  readonly byName: ReadonlyMap<string, StateMachine>;

  constructor(scope: Construct, id: string, props: StateMachinesProps) {
    super(scope, id);
    this.byName = new Map(machineFolders.map((folder) => [folder, this.#create(folder, props)]));
  }

  #create(folder: string, { site, functionOf, logRetention }: StateMachinesProps): StateMachine {
    const document = machineDocument(folder);
    const invoked = document.functions.map((name) => ({ name, arn: functionOf(name).functionArn }));
    const parts = new Construct(this, pascalCase(folder));
    const role = new Role(parts, "Role", { assumedBy: new ServicePrincipal("states.amazonaws.com") });
    role.addToPolicy(
      new PolicyStatement({ actions: ["lambda:InvokeFunction"], resources: invoked.map(({ arn }) => arn) }),
    );
    if (document.distributed) this.#runsItself(role, siteName(site, folder));
    const machine = new StateMachine(parts, "Machine", {
      stateMachineName: siteName(site, folder),
      stateMachineType: StateMachineType.STANDARD,
      definitionBody: DefinitionBody.fromString(document.text),
      definitionSubstitutions: Object.fromEntries(
        invoked.map(({ name, arn }) => [`${pascalCase(name)}FunctionArn`, arn]),
      ),
      role,
      logs: {
        // Step Functions asks for this prefix where many machines share the account's one policy of log groups.
        destination: new LogGroup(parts, "Log", {
          logGroupName: `/aws/vendedlogs/states/${siteName(site, folder)}`,
          retention: logRetention,
          removalPolicy: RemovalPolicy.DESTROY,
        }),
        level: LogLevel.ALL,
        includeExecutionData: false,
      },
      tracingEnabled: true,
    });
    Validations.of(role).acknowledge({
      id: "AwsSolutions-IAM5[Resource::*]",
      reason: "log delivery and X-Ray have no resources to name (Step Functions developer guide, logging and tracing)",
    });
    return machine;
  }

  /** A distributed Map's items are executions of the same machine (Step Functions developer guide, policies of distributed Maps). */
  #runsItself(role: Role, name: string): void {
    const executions = executionsArn(this, name);
    role.addToPolicy(new PolicyStatement({ actions: ["states:StartExecution"], resources: [machineArn(this, name)] }));
    role.addToPolicy(
      new PolicyStatement({ actions: ["states:DescribeExecution", "states:StopExecution"], resources: [executions] }),
    );
    acknowledgeWildcard(role, executions, "each item of a distributed Map is an execution");
  }
}
