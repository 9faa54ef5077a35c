import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import type { Command } from "commander";
import { type StatusReply, statusReplySchema } from "#core/api/site-api.ts";
import { defaultQuotas, judge, needsOf, type Quotas } from "#core/cost/quotas.ts";
import type { Workload } from "#core/cost/usage.ts";
import { InvalidInput } from "#core/errors.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { formatBytes } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result } from "../output.ts";

/** A function URL names its region: `https://<id>.lambda-url.<region>.on.aws`. */
const functionUrl = /\.lambda-url\.([a-z0-9-]+)\.on\.aws$/;

export function registerSiteCheck(site: Command): void {
  site
    .command("check")
    .option("--data <dir>", "an embedded site's directory, on its own machine")
    .description("Say which limit the next failover of everything would hit: AWS's quotas, or this machine's.")
    .addHelpText(
      "after",
      "\nA site on AWS is asked for as the AWS SDK finds credentials; they need lambda:GetAccountSettings and servicequotas:ListServiceQuotas.\n",
    )
    .action(async ({ data }: { readonly data?: string }, command: Command) => {
      const { output, client } = contextOf(command);
      if (data !== undefined) return await checkMachine(output, data);
      const [, region] = functionUrl.exec(new URL(command.optsWithGlobals<{ site: string }>().site).hostname) ?? [];
      if (region === undefined) {
        throw new InvalidInput("an embedded site is bounded by its machine: run this there, with --data <dir>");
      }
      const workload = workloadOf(await client().get("/v1/status", statusReplySchema));
      const { readAccountQuotas } = await import("../account-quotas.ts");
      checkAccount(output, region, workload, await readAccountQuotas(region));
    });
}

/** The fleet as the site shows it, at one batch an interval. */
export function workloadOf({ vpgs, gateways }: StatusReply): Workload {
  return {
    vpgs: vpgs.length,
    gateways: gateways.length,
    volumesBytes: 0,
    payloadBytesPerSecond: 0,
    shippedBytesPerSecond: 0,
    checkpointIntervalMs: Math.min(...vpgs.map((vpg) => vpg.checkpointIntervalMs), limits.checkpointIntervalMsDefault),
    historyMs: 0,
    testsPerMonth: 0,
    source: "outside",
    ownKey: false,
  };
}

function checkAccount(output: Output, region: string, workload: Workload, read: Partial<Quotas>): void {
  const needs = workload.vpgs === 0 ? [] : needsOf(workload, workload.vpgs, { ...defaultQuotas, ...read });
  const rows = needs.map((need) => ({ ...need, state: judge(need), known: read[need.quota] !== undefined }));
  result(output, { region, needs: rows }, () => {
    columns(
      output,
      ["STATE", "WHAT", "NEEDS", "HAS", "WHAT MOVES IT"],
      rows.map(({ state, what, needs, has, known, moves }) => [
        state,
        what,
        needs.toFixed(1),
        `${has}${known ? "" : " (default)"}`,
        moves,
      ]),
    );
  });
}

/** Free space for the journal, which grows, and files that a process may have open. */
async function checkMachine(output: Output, data: string): Promise<void> {
  const { bavail, bsize } = await statfs(data).catch((cause: unknown) => {
    throw new InvalidInput(`--data ${data} can't be looked at`, { data }, { cause });
  });
  const freeBytes = bavail * bsize;
  const openFiles = openFilesMax();
  result(output, { freeBytes, openFiles }, () =>
    fields(output, [
      ["Free for the journal", `${formatBytes(freeBytes)}; it grows, retention is not there yet`],
      ["Open files, at most", openFiles === null ? "unknown here; ulimit -n tells" : String(openFiles)],
    ]),
  );
}

/** The soft limit of this process, where Linux tells it; a site that is started the same way has the same. */
function openFilesMax(): number | null {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}
