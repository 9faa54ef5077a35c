import type { AwsAccount } from "./account.ts";

interface ClientSettings {
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
}

/** Settings of an SDK client that speaks to an account, as its deployer or as whom `env` says. */
export function clientSettings(
  account: AwsAccount,
  env: Readonly<Record<string, string>> = account.env,
): ClientSettings {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = env;
  const { AWS_ENDPOINT_URL: endpoint } = account.env;
  return {
    region: account.region,
    ...(endpoint === undefined ? {} : { endpoint }),
    // Without keys the SDK looks for the deployer's own.
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : {
          credentials: {
            accessKeyId,
            secretAccessKey,
            ...(sessionToken === undefined || sessionToken === "" ? {} : { sessionToken }),
          },
        }),
  };
}
