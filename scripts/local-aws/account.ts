/** An account and a region where a site can be deployed, or what passes for one. */
export interface AwsAccount {
  readonly region: string;
  readonly accountId: string;
  /** What the CDK, the SDK and farshore read of the environment: region, the deployer's credentials, an endpoint. */
  readonly env: Readonly<Record<string, string>>;
}
