import { AccountPrincipal, ArnPrincipal, type IPrincipal, ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { FunctionUrlAuthType, type Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";

export interface FunctionUrlsProps {
  readonly functions: readonly LambdaFunction[];
  /** Accounts, or ARNs of roles and users, that may invoke the URLs by the functions' own policies. */
  readonly principals: readonly string[];
  /** What the policy is for, in a sentence. */
  readonly description: string;
}

/**
 * The URLs of some functions, signed requests only, and who may call them. Since October 2025 a caller needs two permissions:
 * `lambda:InvokeFunctionUrl`, and `lambda:InvokeFunction`, here only when it comes through the URL. In the site's own
 * account the managed policy on a role is enough; a principal of another account needs both this site's word and its own account's.
 */
export class FunctionUrls extends Construct {
  /** In the order of the functions. */
  readonly urls: readonly string[];
  /** For roles of the site's own account. */
  readonly policy: ManagedPolicy;

  constructor(scope: Construct, id: string, { functions, principals, description }: FunctionUrlsProps) {
    super(scope, id);
    this.urls = functions.map((each) => each.addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM }).url);
    for (const one of functions)
      for (const [index, text] of principals.entries()) admit(one, `${id}${index}`, principalOf(text));
    this.policy = new ManagedPolicy(this, "Policy", {
      description,
      statements: invokeStatements(functions.map(({ functionArn }) => functionArn)),
    });
  }
}

/** What it takes to call functions by their URLs, and by nothing else. */
export function invokeStatements(arns: readonly string[]): PolicyStatement[] {
  const resources = [...arns];
  return [
    new PolicyStatement({
      actions: ["lambda:InvokeFunctionUrl"],
      resources,
      conditions: { StringEquals: { "lambda:FunctionUrlAuthType": FunctionUrlAuthType.AWS_IAM } },
    }),
    new PolicyStatement({
      actions: ["lambda:InvokeFunction"],
      resources,
      conditions: { Bool: { "lambda:InvokedViaFunctionUrl": "true" } },
    }),
  ];
}

function admit(target: LambdaFunction, id: string, principal: IPrincipal): void {
  target.addPermission(`${id}Url`, {
    principal,
    action: "lambda:InvokeFunctionUrl",
    functionUrlAuthType: FunctionUrlAuthType.AWS_IAM,
  });
  target.addPermission(`${id}Function`, { principal, action: "lambda:InvokeFunction", invokedViaFunctionUrl: true });
}

function principalOf(text: string): IPrincipal {
  return text.startsWith("arn:") ? new ArnPrincipal(text) : new AccountPrincipal(text);
}
