import { GetAccountSettingsCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { paginateListServiceQuotas, ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import type { Quotas } from "#core/cost/quotas.ts";

/**
 * Quotas of Service Quotas by service and the beginning of their names. State transitions are left out, for what
 * they are called there is not documented; S3's request rates are no quota of an account.
 */
const named: readonly { readonly quota: keyof Quotas; readonly service: string; readonly name: RegExp }[] = [
  { quota: "dynamodbTableReads", service: "dynamodb", name: /^table-level read throughput/i },
  { quota: "dynamodbTableWrites", service: "dynamodb", name: /^table-level write throughput/i },
  { quota: "startsAtOnce", service: "states", name: /^startexecution throttle token bucket size$/i },
];

export interface AccountQuotas {
  /** Those that AWS told; the others keep their defaults. */
  readonly read: Partial<Quotas>;
  /** A line for each question that AWS did not answer. */
  readonly problems: readonly string[];
}

/** The quotas of an account and region, as far as the caller may read them. */
export async function readAccountQuotas(region: string): Promise<AccountQuotas> {
  const read: Partial<Record<keyof Quotas, number>> = {};
  const problems: string[] = [];
  const ask = async (action: string, question: () => Promise<void>): Promise<void> => {
    await question().catch((error: unknown) => {
      problems.push(`${action}: ${error instanceof Error ? error.message : String(error)}`);
    });
  };
  await ask("lambda:GetAccountSettings", async () => {
    const { AccountLimit } = await new LambdaClient({ region }).send(new GetAccountSettingsCommand({}));
    if (AccountLimit?.ConcurrentExecutions !== undefined) read.lambdaConcurrency = AccountLimit.ConcurrentExecutions;
  });
  const client = new ServiceQuotasClient({ region });
  for (const ServiceCode of new Set(named.map(({ service }) => service))) {
    await ask(`servicequotas:ListServiceQuotas of ${ServiceCode}`, async () => {
      for await (const { Quotas: quotas = [] } of paginateListServiceQuotas({ client }, { ServiceCode })) {
        for (const { QuotaName = "", Value } of quotas) {
          const match = named.find(({ service, name }) => service === ServiceCode && name.test(QuotaName));
          if (match !== undefined && Value !== undefined) read[match.quota] = Value;
        }
      }
    });
  }
  return { read, problems };
}
