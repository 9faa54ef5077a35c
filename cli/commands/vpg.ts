import type { Command } from "commander";
import { z } from "zod";
import { type VpgView, vpgViewSchema } from "#core/api/site-api.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { columns, fields, type Output, result } from "../output.ts";
import { readVpgFile } from "../vpg-file.ts";
import { vpgRows } from "../vpg-rows.ts";
import { rpoText } from "./status.ts";
import { registerVpgEdit } from "./vpg-edit.ts";
import { registerVpgPreseed } from "./vpg-preseed.ts";

const listSchema = z.object({ vpgs: z.array(vpgViewSchema) });

const closedText = ({ sourceGateway }: VpgView): string =>
  `The disks at ${sourceGateway} were closed by an operation and stay closed; farshore gateway open-volumes opens them there.`;

function printVpg(output: Output, vpg: VpgView): void {
  fields(output, vpgRows(vpg));
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
