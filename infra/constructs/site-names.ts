import { ArnFormat, Stack } from "aws-cdk-lib";
import type { Construct } from "constructs";

/** What a site's resources are called: one prefix, so that a person finds them in the console and sites can share a region. */
export const siteName = (site: string, part = ""): string => `farshore-${site}${part === "" ? "" : `-${part}`}`;

/** A state machine's ARN by its name: the functions need it before the machine is there, which needs the functions. */
export function machineArn(scope: Construct, name: string): string {
  return statesArn(scope, "stateMachine", name);
}

/** The ARN of all executions of a state machine. */
export function executionsArn(scope: Construct, name: string): string {
  return statesArn(scope, "execution", `${name}:*`);
}

/** The site's own bus, for functions that the bus's rules need first. */
export function busArn(scope: Construct, site: string): string {
  return Stack.of(scope).formatArn({ service: "events", resource: "event-bus", resourceName: siteName(site) });
}

function statesArn(scope: Construct, resource: string, resourceName: string): string {
  const arnFormat = ArnFormat.COLON_RESOURCE_NAME;
  return Stack.of(scope).formatArn({ service: "states", resource, resourceName, arnFormat });
}
