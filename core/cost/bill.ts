import { monthlyUsage } from "./month.ts";
import { type Meter, meterNames, meters, type PriceList } from "./prices.ts";
import { monthSeconds, type Usage, type Workload } from "./usage.ts";

/** One line of a bill. */
export interface BillLine {
  readonly meter: Meter;
  readonly service: string;
  readonly unit: string;
  readonly quantity: number;
  readonly usd: number;
}

export interface Bill {
  readonly usd: number;
  readonly services: readonly { readonly service: string; readonly usd: number }[];
  readonly lines: readonly BillLine[];
}

/** What a usage costs by a list of prices; lines and services in the list's order. */
export function billOf(usage: Usage, { prices }: PriceList): Bill {
  const lines = meterNames.flatMap((meter): BillLine[] => {
    const quantity = usage[meter] ?? 0;
    const { usd, per } = prices[meter];
    return quantity === 0 ? [] : [{ meter, ...meters[meter], quantity, usd: (quantity * usd) / per }];
  });
  const services = [...Map.groupBy(lines, ({ service }) => service)].map(([service, of]) => ({
    service,
    usd: total(of),
  }));
  return { usd: total(lines), services, lines };
}

function total(parts: readonly { readonly usd: number }[]): number {
  return parts.reduce((sum, { usd }) => sum + usd, 0);
}

/** A month idle and a month busy. */
export interface Estimate {
  readonly idle: Bill;
  readonly busy: Bill;
  /** What a busy month costs more than an idle one, for each GB that is shipped; null when nothing is. */
  readonly usdPerShippedGb: number | null;
}

export function estimate(workload: Workload, list: PriceList): Estimate {
  const idle = billOf(monthlyUsage(workload, "idle"), list);
  const busy = billOf(monthlyUsage(workload, "busy"), list);
  const shippedGb = (workload.shippedBytesPerSecond * monthSeconds) / 2 ** 30;
  return { idle, busy, usdPerShippedGb: shippedGb > 0 ? (busy.usd - idle.usd) / shippedGb : null };
}
