import { GetAccountSettingsCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { paginateListServiceQuotas, ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import type { Quotas } from "#core/cost/quotas.ts";

/** A quota of Service Quotas by its service and the beginning of its name. */
const named: readonly { readonly quota: keyof Quotas; readonly service: string; readonly name: RegExp }[] = [
  { quota: "dynamodbTableReads", service: "dynamodb", name: /^table-level read throughput/i },
  { quota: "dynamodbTableWrites", service: "dynamodb", name: /^table-level write throughput/i },
];

/** The quotas of an account and region, as far as AWS tells them; the others keep their defaults. */
export async function readAccountQuotas(region: string): Promise<Partial<Quotas>> {
  const settings = await new LambdaClient({ region }).send(new GetAccountSettingsCommand({}));
  const lambdaConcurrency = settings.AccountLimit?.ConcurrentExecutions;
  const found: Partial<Record<keyof Quotas, number>> = lambdaConcurrency === undefined ? {} : { lambdaConcurrency };
  const client = new ServiceQuotasClient({ region });
  for (const ServiceCode of new Set(named.map(({ service }) => service))) {
    for await (const { Quotas: quotas = [] } of paginateListServiceQuotas({ client }, { ServiceCode })) {
      for (const { QuotaName = "", Value } of quotas) {
        const match = named.find(({ service, name }) => service === ServiceCode && name.test(QuotaName));
        if (match !== undefined && Value !== undefined) found[match.quota] = Value;
      }
    }
  }
  return found;
}
