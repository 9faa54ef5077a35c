import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { EventBridgeClient } from "@aws-sdk/client-eventbridge";
import { S3Client } from "@aws-sdk/client-s3";
import { SFNClient } from "@aws-sdk/client-sfn";
import { attemptsMax, connectMsMax, objectRequestMsMax, requestMsMax, socketsMax } from "./limits.ts";

export interface AwsClients {
  readonly s3: S3Client;
  readonly dynamo: DynamoDBClient;
  readonly stepFunctions: SFNClient;
  readonly eventBridge: EventBridgeClient;
}

/** Where the clients speak to, when it isn't what the environment says: tests with a local AWS of their own. */
export interface AwsPlace {
  readonly endpoint?: string;
  readonly region?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

let clients: AwsClients | undefined;

/** One client a service for as long as the process lives. */
export function awsClients(): AwsClients {
  clients ??= makeAwsClients();
  return clients;
}

/**
 * Clients with connections kept open and every wait bounded. Region, credentials and `AWS_ENDPOINT_URL` are found by the SDK.
 * A bucket's name stands in the path where an endpoint is set: a local AWS has no DNS name for each bucket.
 */
export function makeAwsClients(place: AwsPlace = {}): AwsClients {
  const endpoint = place.endpoint ?? process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
  const s3 = new S3Client({
    ...settings(place, objectRequestMsMax),
    forcePathStyle: endpoint !== undefined && endpoint !== "",
    // Ours are SHA-256; otherwise the SDK adds a CRC32 of its own to every request.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  signWithChecksum(s3);
  return {
    s3,
    dynamo: new DynamoDBClient(settings(place, requestMsMax)),
    stepFunctions: new SFNClient(settings(place, requestMsMax)),
    eventBridge: new EventBridgeClient(settings(place, requestMsMax)),
  };
}

/** SigV4 covers a body by its SHA-256, which is also the checksum that goes with it: a batch of 4 MiB is hashed once, not twice. */
function signWithChecksum(s3: S3Client): void {
  s3.middlewareStack.add(
    (next) => (args) => {
      const headers = partOf(args.request, "headers");
      const checksum = partOf(headers, "x-amz-checksum-sha256");
      if (typeof checksum === "string" && typeof headers === "object" && headers !== null)
        Reflect.set(headers, "x-amz-content-sha256", Buffer.from(checksum, "base64").toString("hex"));
      return next(args);
    },
    { step: "build", name: "signWithChecksum" },
  );
}

function partOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function settings(place: AwsPlace, requestTimeout: number) {
  const agent = { keepAlive: true, maxSockets: socketsMax };
  return {
    ...place,
    maxAttempts: attemptsMax,
    retryMode: "standard",
    requestHandler: {
      connectionTimeout: connectMsMax,
      requestTimeout,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
  };
}
