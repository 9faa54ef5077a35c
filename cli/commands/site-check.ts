import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import type { Command } from "commander";
import { type StatusReply, statusReplySchema } from "#core/api/site-api.ts";
import { judge, needsOf, quotasIn, setAside } from "#core/cost/quotas.ts";
import type { Workload } from "#core/cost/usage.ts";
import { InvalidInput } from "#core/errors.ts";
import { protectionLimits as limits } from "#core/protection/limits.ts";
import { formatBytes } from "#core/units.ts";
import type { AccountQuotas } from "../account-quotas.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result } from "../output.ts";

export function registerSiteCheck(site: Command): void {
  site
    .command("check")
    .option("--data <dir>", "an embedded site's directory, on its own machine")
    .description("Say which limit the next failover of everything would hit: AWS's quotas, or this machine's.")
    .addHelpText(
      "after",
      "\nA site on AWS is asked for as the AWS SDK finds credentials; they need lambda:GetAccountSettings and servicequotas:ListServiceQuotas; what they may not read is taken to be AWS's default. A site behind a name of your own: --auth iam, and its region in AWS_REGION.\n\nExamples:\n  farshore site check --site https://….lambda-url.eu-central-1.on.aws\n  farshore site check --data /srv/farshore/berlin\n",
    )
    .action(async ({ data }: { readonly data?: string }, command: Command) => {
      const context = contextOf(command);
      if (data !== undefined) return await checkMachine(context.output, data);
      const region = context.region();
      if (region === undefined) {
        throw new InvalidInput(
          "an embedded site is bounded by its machine: run this there, with --data <dir>; a site on AWS behind another name needs --auth iam",
        );
      }
      const workload = workloadOf(await context.client().get("/v1/status", statusReplySchema));
      const { readAccountQuotas } = await import("../account-quotas.ts");
      checkAccount(context.output, region, workload, await readAccountQuotas(region));
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

function checkAccount(output: Output, region: string, workload: Workload, { read, problems }: AccountQuotas): void {
  const needs = workload.vpgs === 0 ? [] : needsOf(workload, workload.vpgs, { ...quotasIn(region), ...read });
  const rows = needs.map((need) => {
    const source = read[need.quota] !== undefined ? "read" : setAside.includes(need.quota) ? "stack" : "default";
    return { ...need, state: judge(need), source };
  });
  for (const problem of problems) output.note(`taken to be the default, for it could not be read: ${problem}`);
  result(output, { region, needs: rows, problems }, () => {
    if (rows.length === 0) return output.line("no VPGs yet, so a failover needs nothing");
    columns(
      output,
      ["STATE", "WHAT", "NEEDS", "HAS", "FROM", "WHAT MOVES IT"],
      rows.map(({ state, what, needs, has, source, moves }) => [
        ...[state, what, needs.toFixed(1), String(has), source, moves],
      ]),
    );
    output.line("");
    output.line(
      `read: told by AWS for this account in ${region}; default: AWS's own, of which new accounts have less; stack: set aside by the site's stack`,
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
      ["Free for the journal", `${formatBytes(freeBytes)}; a VPG without [retention] keeps every checkpoint`],
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
