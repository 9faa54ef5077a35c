/**
 * The tables of docs/scaling.md, computed by what `farshore cost` computes with. Prints them:
 * node scripts/scaling-table.ts. A test compares them with the document.
 */
import { estimate } from "#core/cost/bill.ts";
import { usEast1 } from "#core/cost/prices.ts";
import { defaultQuotas, judge, type Need, needsOf } from "#core/cost/quotas.ts";
import type { Workload } from "#core/cost/usage.ts";

const sizes = [1, 100, 10_000] as const;

/** So many VMs as one site protects them: five in a VPG, a gateway for each VPG at either side. */
export function fleet(vms: number): Workload {
  const vpgs = Math.ceil(vms / 5);
  return {
    vpgs,
    gateways: 2 * vpgs,
    volumesBytes: vms * 100 * 2 ** 30,
    payloadBytesPerSecond: vms * 20 * 1024,
    shippedBytesPerSecond: vms * 10 * 1024,
    checkpointIntervalMs: 5000,
    historyMs: 86_400_000,
    testsPerMonth: vpgs,
    source: "outside",
    ownKey: false,
  };
}

/** Every quota, when all VPGs are written to and all are failed over at once. */
function needs(vms: number): ReadonlyMap<string, Need> {
  const workload = fleet(vms);
  return new Map(needsOf(workload, workload.vpgs, defaultQuotas).map((need) => [need.what, need]));
}

const figure = (value: number): string => value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });

export function limitsTable(): readonly string[] {
  const columns = sizes.map(needs);
  const [, , largest] = columns;
  const rows = [...(largest ?? new Map<string, Need>())].map(([what, { has, moves }]) => {
    const cells = columns.map((column) => cell(column.get(what)));
    return `| ${what} | ${cells.join(" | ")} | ${figure(has)} | ${moves} |`;
  });
  return [
    `| what | ${sizes.map((vms) => `${figure(vms)} VMs`).join(" | ")} | default quota | what moves it |`,
    "|---|---|---|---|---|---|",
    ...rows,
  ];
}

/** The VMs that one site takes before any need is over its quota, and what is over it then. */
export function firstLimit(partFailingOver: 0 | 1): string {
  const first = (vms: number): Need | undefined => {
    const workload = fleet(vms);
    return needsOf(workload, workload.vpgs * partFailingOver, defaultQuotas).find((need) => judge(need) === "over");
  };
  let vms = 5;
  while (first(vms) === undefined) vms += 5;
  const when = partFailingOver === 1 ? "When all VPGs fail over at once" : "In everyday work";
  return `${when}, the first limit is hit at ${figure(vms)} VMs: ${first(vms)?.what ?? ""}.`;
}

function cell(need: Need | undefined): string {
  if (need === undefined) return "-";
  const text = figure(need.needs);
  return { ok: text, near: `${text} (near)`, over: `**${text}**` }[judge(need)];
}

export function costTable(): readonly string[] {
  const rows = sizes.map((vms) => {
    const { idle, busy } = estimate(fleet(vms), usEast1);
    return `| ${figure(vms)} | ${figure(Math.round(idle.usd))} | ${figure(Math.round(busy.usd))} | ${(busy.usd / vms).toFixed(2)} |`;
  });
  return ["| VMs | idle, $ a month | busy, $ a month | busy, $ a VM |", "|---|---|---|---|", ...rows];
}

if (import.meta.main)
  process.stdout.write(`${[...limitsTable(), "", firstLimit(0), firstLimit(1), "", ...costTable()].join("\n")}\n`);
