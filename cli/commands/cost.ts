import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, Option } from "commander";
import { type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { type Bill, estimate } from "#core/cost/bill.ts";
import { type PriceList, pricesFileSchema, usEast1, withPrices } from "#core/cost/prices.ts";
import { assertReplicating, type MeasuredRates, ratesOf } from "#core/cost/rates.ts";
import type { Workload } from "#core/cost/usage.ts";
import { InvalidInput } from "#core/errors.ts";
import { parseInput } from "#core/json.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { retentionSchema } from "#core/retention/policy.ts";
import { formatBytes, formatDuration, parseBytes, parseDuration } from "#core/units.ts";
import { type Context, contextOf } from "../context.ts";
import { cliLimits } from "../limits.ts";
import { columns, type Output, result } from "../output.ts";

interface CostOptions {
  readonly changeRate?: string;
  readonly volumes?: string;
  readonly compression: string;
  readonly interval?: string;
  readonly history?: string;
  readonly tests: string;
  readonly measure: string;
  readonly source: Workload["source"];
  readonly ownKey: boolean;
  readonly prices?: string;
}

export function registerCost(program: Command): void {
  program
    .command("cost")
    .argument("[vpg]", "name or id; its own volumes and rates are measured")
    .option("--change-rate <size>", "instead of a VPG: what its guests write a second, such as 100KiB")
    .option("--volumes <size>", "its volumes together, such as 500GiB")
    .option("--compression <part>", "shipped bytes for each byte written, 0 to 1", "0.5")
    .option("--interval <duration>", "checkpoint interval (default 5s; 1s costs about five times the requests)")
    .option("--history <duration>", "how long checkpoints are kept (default 24h)")
    .option("--tests <number>", "failover tests a month, of an hour each", "1")
    .option("--measure <duration>", "how long a VPG's rates are measured", "60s")
    .addOption(
      new Option("--source <where>", "traffic from another AWS region costs")
        .choices(["outside", "other-region"])
        .default("outside"),
    )
    .option("--own-key", "a KMS key of the site's own", false)
    .option("--prices <file>", "JSON with the prices of your region or contract (docs/cost.md)")
    .description("Estimate what a VPG costs a month on AWS, by service, idle and busy; nothing is asked of AWS.")
    .addHelpText(
      "after",
      "\nExamples:\n  farshore cost shop\n  farshore cost --change-rate 100KiB --volumes 500GiB --interval 1s\n",
    )
    .action(async (vpg: string | undefined, options: CostOptions, command: Command) => {
      const context = contextOf(command);
      const list = priceList(options.prices);
      const { workload, measured } = await workloadOf(context, vpg, options);
      const { idle, busy, usdPerShippedGb } = estimate(workload, list);
      const { region, asOf } = list;
      result(context.output, { region, asOf, workload, measured, idle, busy, usdPerShippedGb }, () => {
        printWorkload(context.output, workload, list);
        printBills(context.output, idle, busy);
        if (usdPerShippedGb !== null) {
          context.output.line("");
          context.output.line(`a shipped GB costs ${dollars(usdPerShippedGb)} beside its storage`);
        }
      });
    });
}

function priceList(file: string | undefined): PriceList {
  if (file === undefined) return usEast1;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new InvalidInput(`--prices ${file} can't be read as JSON`, { file }, { cause });
  }
  return withPrices(usEast1, parseInput(pricesFileSchema, value));
}

interface Asked {
  readonly workload: Workload;
  readonly measured: MeasuredRates | null;
}

async function workloadOf(context: Context, vpg: string | undefined, options: CostOptions): Promise<Asked> {
  const usual = {
    vpgs: 1,
    gateways: 2,
    checkpointIntervalMs: duration(options.interval, limits.checkpointIntervalMsDefault),
    historyMs: duration(options.history, limits.historyMsDefault),
    testsPerMonth: number(options.tests, "--tests", Number.MAX_SAFE_INTEGER),
    source: options.source,
    ownKey: options.ownKey,
  };
  if (vpg !== undefined) {
    if (options.changeRate !== undefined || options.volumes !== undefined) {
      throw new InvalidInput("give a VPG, or --change-rate and --volumes; not both");
    }
    const view = await context.client().get(pathOf(vpg), vpgViewSchema);
    const measured = await measure(context, view, parseDuration(options.measure));
    return {
      measured,
      workload: {
        ...usual,
        gateways: view.recoveryGateway === null ? 1 : 2,
        checkpointIntervalMs: duration(options.interval, view.checkpointIntervalMs),
        historyMs: duration(options.history, view.historyMs),
        retention: view.retention,
        volumesBytes: view.vms.flatMap((vm) => vm.volumes).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        payloadBytesPerSecond: measured.writtenBytesPerSecond,
        shippedBytesPerSecond: measured.shippedBytesPerSecond,
      },
    };
  }
  if (options.changeRate === undefined || options.volumes === undefined) {
    throw new InvalidInput("name a VPG, or give --change-rate and --volumes");
  }
  const payloadBytesPerSecond = parseBytes(options.changeRate);
  return {
    measured: null,
    workload: {
      ...usual,
      // What a new VPG gets.
      retention: retentionSchema.parse({}),
      volumesBytes: parseBytes(options.volumes),
      payloadBytesPerSecond,
      shippedBytesPerSecond: payloadBytesPerSecond * number(options.compression, "--compression", 1),
    },
  };
}

/** What the gateway's counters, which come with its heartbeats, gained meanwhile. */
async function measure(context: Context, first: VpgView, measureMs: number): Promise<MeasuredRates> {
  assertReplicating(first);
  if (measureMs < cliLimits.measureMsMin) {
    throw new InvalidInput(
      `--measure ${formatDuration(measureMs)}: at least ${formatDuration(cliLimits.measureMsMin)}, for counters come with heartbeats`,
    );
  }
  context.output.note(`measuring what ${first.name} writes for ${formatDuration(measureMs)}`);
  const began = performance.now();
  await sleep(measureMs);
  const last = await context.client().get(pathOf(first.vpgId), vpgViewSchema);
  return ratesOf(first, last, performance.now() - began);
}

const pathOf = (vpg: string): string => `/v1/vpgs/${encodeURIComponent(vpg)}`;

const duration = (text: string | undefined, usual: number): number =>
  text === undefined ? usual : parseDuration(text);

function number(text: string, option: string, most: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= most)) {
    throw new InvalidInput(`${option} ${text}: a number${most === 1 ? " from 0 to 1" : ", 0 or more"}`);
  }
  return value;
}

function printWorkload(output: Output, workload: Workload, { region, asOf }: PriceList): void {
  const { volumesBytes, payloadBytesPerSecond, shippedBytesPerSecond, checkpointIntervalMs, historyMs } = workload;
  output.line(
    `${formatBytes(volumesBytes)} of volumes; ${formatBytes(Math.round(payloadBytesPerSecond))}/s written, ${formatBytes(Math.round(shippedBytesPerSecond))}/s shipped; a checkpoint every ${formatDuration(checkpointIntervalMs)}, kept ${formatDuration(historyMs)}`,
  );
  output.line(`list prices of ${region} as of ${asOf}, without free tiers and tax`);
  output.line("");
}

function printBills(output: Output, idle: Bill, busy: Bill): void {
  const services = [...new Set([...idle.services, ...busy.services].map(({ service }) => service))];
  const usd = (bill: Bill, name: string): string =>
    dollars(bill.services.find(({ service }) => service === name)?.usd ?? 0);
  columns(
    output,
    ["A MONTH", "IDLE", "BUSY"],
    [
      ...services.map((service) => [service, usd(idle, service), usd(busy, service)]),
      ["in all", dollars(idle.usd), dollars(busy.usd)],
    ],
  );
}

const dollars = (usd: number): string => `$${usd.toFixed(2)}`;
