import type { Context } from "aws-lambda";
import { httpLimits } from "../../functions/shared/limits.ts";

/** What Lambda tells a function of its call, as far as it means something here. */
export function lambdaContext(functionName: string, requestId: string): Context {
  const started = performance.now();
  return {
    callbackWaitsForEmptyEventLoop: false,
    functionName,
    functionVersion: "embedded",
    invokedFunctionArn: functionName,
    memoryLimitInMB: "0",
    awsRequestId: requestId,
    logGroupName: "",
    logStreamName: "",
    getRemainingTimeInMillis: () => Math.max(0, httpLimits.functionTimeMs - (performance.now() - started)),
    done: () => undefined,
    fail: () => undefined,
    succeed: () => undefined,
  };
}
