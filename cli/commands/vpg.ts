import type { Command } from "commander";
import { z } from "zod";
import { type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { formatBytes, formatDuration, formatRate } from "#core/units.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result, timeText } from "../output.ts";
import { readVpgFile } from "../vpg-file.ts";
import { scrubRows } from "./scrub.ts";
import { rpoText } from "./status.ts";
import { registerVpgEdit } from "./vpg-edit.ts";
import { registerVpgPreseed } from "./vpg-preseed.ts";

const listSchema = z.object({ vpgs: z.array(vpgViewSchema) });

function sourceText({ suspicion: { reachability, silentSince, hints } }: VpgView): string {
  const since = silentSince === null ? [] : [`silent since ${timeText(silentSince)}`];
  return [reachability, ...since, ...hints].join("; ");
}

/** The protected site as a peer, and what stands in the way of protecting the VPG back to it. */
function peerText({ peer, reverseProblem }: VpgView): string {
  const known =
    peer === undefined ? [] : [`${peer.siteId ?? "not asked who it is"} at ${peer.url}, reachability unknown`];
  const problem = reverseProblem === undefined ? [] : [`no reverse protection: ${reverseProblem}`];
  return [...known, ...problem].join("; ");
}

const closedText = ({ sourceGateway }: VpgView): string =>
  `The disks at ${sourceGateway} were closed by an operation and stay closed; farshore gateway open-volumes opens them there.`;

function checkpointsText({ checkpoints, historyHeldMs, historyMs, lostTailCheckpoints }: VpgView): string {
  const held = `${checkpoints} over ${formatDuration(historyHeldMs)} of ${formatDuration(historyMs)}`;
  return lostTailCheckpoints === undefined ? held : `${held}; ${lostTailCheckpoints} in the lost tail`;
}

const leftOffText = (operations: readonly string[]): string =>
  `the source's VMs, which ${operations.join(" ")} shut down; they are powered on when their gateway is heard again`;

function retentionRows({ retention, journalBytes }: VpgView): (readonly [string, string])[] {
  if (retention === undefined) return [["Retention", "none: every checkpoint stays, nothing is deleted"]];
  const { tiers, taggedMs, journalLimit, journalFull, pressure, waits, ranAt, collectedAt } = retention;
  const kept = tiers.map(
    ({ everyMs, forMs }) =>
      `${everyMs === 0 ? "all" : `one in ${formatDuration(everyMs)}`} for ${formatDuration(forMs)}`,
  );
  const limit =
    journalLimit === null
      ? []
      : [
          `${formatBytes(journalBytes)} of ${formatBytes(journalLimit.bytes)}, then ${journalLimit.policy}`,
          ...(journalFull ? ["FULL: paused"] : []),
          ...(pressure > 0 ? [`${pressure} steps taken`] : []),
        ];
  const bytes = [retention.liveBytes, retention.deadBytes, retention.leakedBytes].map(formatBytes).join(" / ");
  return [
    ["Retention", `${kept.join(", ")}; tagged for ${formatDuration(taggedMs)}`],
    ...(limit.length === 0 ? [] : [["Journal limit", limit.join("; ")] as const]),
    [
      "Thinned through",
      `${retention.thinnedThrough ?? "-"}${ranAt === null ? "" : `, ${timeText(ranAt)}`}${waits === null ? "" : `; WAITS: ${waits}`}`,
    ],
    ["Layers / packs", `${retention.layers} / ${retention.packs}, manifest ${retention.manifest}`],
    ["Live / dead / leaked", `${bytes}${collectedAt === null ? "" : `, ${timeText(collectedAt)}`}`],
  ];
}

function printVpg(output: Output, vpg: VpgView): void {
  fields(output, [
    ["VPG", `${vpg.name} (${vpg.vpgId})`],
    ["Status", `${vpg.status} / ${vpg.substatus}`],
    ["Role", `${vpg.role}, term ${vpg.term}`],
    ["Protected site", `${vpg.protectedSite}, gateway ${vpg.sourceGateway}`],
    ["Peer", peerText(vpg)],
    ["Recovery", vpg.recoveryGateway === null ? "no compute provider" : `gateway ${vpg.recoveryGateway}`],
    ["RPO now / target", rpoText(vpg)],
    ["Checkpoints", checkpointsText(vpg)],
    [
      "Newest",
      vpg.newestCheckpoint === null ? "-" : `${vpg.newestCheckpoint.id} ${timeText(vpg.newestCheckpoint.time)}`,
    ],
    [
      "Oldest",
      vpg.oldestCheckpoint === null ? "-" : `${vpg.oldestCheckpoint.id} ${timeText(vpg.oldestCheckpoint.time)}`,
    ],
    ...(vpg.barrierProblem === undefined ? [] : [["No new checkpoint", vpg.barrierProblem] as const]),
    ...(vpg.configurationProblem === undefined ? [] : [["Edit not taken up", vpg.configurationProblem] as const]),
    ...(vpg.operationForgotten === undefined ? [] : [["Operation forgotten", vpg.operationForgotten] as const]),
    ...(vpg.sourceClosed === undefined ? [] : [["Source closed", vpg.sourceClosed] as const]),
    ["Replication", `${vpg.mode}, backlog ${formatBytes(vpg.backlogBytes)}, lag ${formatDuration(vpg.lagMs)}`],
    ...(vpg.throttleBytesPerSecond === undefined
      ? []
      : [["Throttle", `at most ${formatRate(vpg.throttleBytesPerSecond)}`] as const]),
    [
      "Sync",
      vpg.sync === null
        ? "-"
        : `${vpg.sync.comparedChunks}/${vpg.sync.totalChunks} chunks compared, ${vpg.sync.differingChunks} differ, ${formatBytes(vpg.sync.shippedBytes)} sent, ${vpg.sync.etaMs === null ? "time left unknown" : `${formatDuration(vpg.sync.etaMs)} left`}`,
    ],
    [
      "Written / shipped / journal",
      [vpg.writtenBytes, vpg.shippedBytes, vpg.journalBytes].map(formatBytes).join(" / "),
    ],
    ...retentionRows(vpg),
    ...scrubRows(vpg),
    ["Source", sourceText(vpg)],
    ["Trigger", `${vpg.suspicion.policy}, incident ${vpg.suspicion.incidentId ?? "-"}`],
    ["Operation", vpg.operationId ?? "-"],
    ...(vpg.powerOnDue === undefined ? [] : [["Left off", leftOffText(vpg.powerOnDue)] as const]),
    ...(vpg.syncOperationId === null ? [] : [["Delta-sync", vpg.syncOperationId] as const]),
    ["Open tests", vpg.openTests.length === 0 ? "-" : vpg.openTests.join(" ")],
  ]);
  output.line("");
  if (vpg.sources !== undefined) {
    columns(
      output,
      ["SOURCE GATEWAY", "STATE", "MODE", "SESSION", "BACKLOG", "LAG", "VMS"],
      vpg.sources.map((source) => [
        source.gateway,
        source.connected ? "connected" : "silent",
        source.mode,
        String(source.session),
        formatBytes(source.backlogBytes),
        formatDuration(source.lagMs),
        vpg.vms
          .filter((vm) => (vm.sourceGateway ?? vpg.sourceGateway) === source.gateway)
          .map((vm) => vm.name)
          .join(", "),
      ]),
    );
    output.line("");
  }
  columns(
    output,
    ["VM", "BOOT GROUP", "VOLUME", "NUMBER", "SIZE"],
    vpg.vms.flatMap((vm) =>
      vm.volumes.map((volume) => [
        vm.name,
        String(vm.bootGroup),
        volume.name,
        String(volume.volume),
        formatBytes(volume.sizeBytes),
      ]),
    ),
  );
}

export function registerVpg(program: Command): void {
  const vpg = program
    .command("vpg")
    .description("Create and look after virtual protection groups: the VMs that are recovered together.");

  vpg
    .command("create")
    .argument("<file>", "TOML file that says what belongs to the group (farshore init writes an example)")
    .description("Create a VPG; replication begins when its source gateway runs.")
    .addHelpText("after", "\nExample:\n  farshore vpg create vpg.toml\n")
    .action(async (file: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const created = await client().post("/v1/vpgs", vpgViewSchema, readVpgFile(file));
      result(output, created, () => printVpg(output, created));
    });

  vpg
    .command("list")
    .description("List the VPGs of the site.")
    .addHelpText("after", "\nExample:\n  farshore vpg list --json\n")
    .action(async (_options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const { vpgs } = await client().get("/v1/vpgs", listSchema);
      result(output, vpgs, () =>
        columns(
          output,
          ["VPG", "STATUS", "SUBSTATUS", "RPO NOW/TARGET", "CHECKPOINTS", "ID"],
          vpgs.map((row) => [row.name, row.status, row.substatus, rpoText(row), String(row.checkpoints), row.vpgId]),
        ),
      );
    });

  vpg
    .command("show")
    .argument("<vpg>", "name or id")
    .description("Show one VPG: status, RPO, checkpoints, replication, volumes.")
    .addHelpText("after", "\nExample:\n  farshore vpg show shop\n")
    .action(async (name: string, _options: unknown, command: Command) => {
      const { output, client } = contextOf(command);
      const view = await client().get(`/v1/vpgs/${encodeURIComponent(name)}`, vpgViewSchema);
      result(output, view, () => printVpg(output, view));
    });

  for (const [verb, description] of [
    ["pause", "Pause replication: checkpoints stay, changes are tracked and synced at resume."],
    ["resume", "Resume a paused VPG: what changed meanwhile is synced, then checkpoints go on."],
  ] as const) {
    vpg
      .command(verb)
      .argument("<vpg>", "name or id")
      .description(description)
      .addHelpText("after", `\nExample:\n  farshore vpg ${verb} shop\n`)
      .action(async (name: string, _options: unknown, command: Command) => {
        const { output, client } = contextOf(command);
        const view = await client().post(`/v1/vpgs/${encodeURIComponent(name)}/${verb}`, vpgViewSchema);
        result(output, view, () => output.line(`${view.name}: ${view.status} / ${view.substatus}`));
      });
  }

  registerVpgEdit(vpg);
  registerVpgPreseed(vpg);

  vpg
    .command("delete")
    .argument("<vpg>", "name or id")
    .description(
      "Delete a VPG: its gateway is fenced and its checkpoints can no longer be recovered through the site; its journal stays for seven days, for who reads the bucket offline, and is then deleted.",
    )
    .addHelpText("after", "\nExample:\n  farshore vpg delete shop\n")
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = contextOf(command);
      const client = context.client();
      const view = await client.get(`/v1/vpgs/${encodeURIComponent(name)}`, vpgViewSchema);
      await confirmByName(
        context,
        [
          `This ends the protection of ${view.name} and gives up its ${view.checkpoints} checkpoints.`,
          ...(view.mode === "closed" ? [closedText(view)] : []),
        ],
        view.name,
      );
      await client.delete(`/v1/vpgs/${encodeURIComponent(name)}`, z.object({}));
      result(context.output, { deleted: view.vpgId }, () => context.output.line(`${view.name} is deleted`));
    });
}
