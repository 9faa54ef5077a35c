import type { Command } from "commander";
import { InvalidInput, NotFound } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import type { LocalDisks } from "../../gateway/export/local-disks.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { columns, result } from "../output.ts";

interface ConfigFlag {
  readonly config: string;
}

async function configOf(file: string) {
  const { loadGatewayConfig } = await import("../../gateway/config.ts");
  const token = process.env["FARSHORE_TOKEN"];
  const config = loadGatewayConfig(file, token === "" ? undefined : token);
  const { recovery } = config;
  if (recovery === undefined)
    throw new InvalidInput(`${file} has no [recovery] section: no operation left disks there`);
  return { ...config, recovery };
}

/** What the gateway's own site is to a VPG, or that it was deleted there. Throws `NotFound` when the site says neither. */
async function roleAt(site: Awaited<ReturnType<typeof configOf>>["recovery"]["site"], vpgId: Id) {
  const { SiteClient } = await import("../../gateway/control/site-client.ts");
  const client = new SiteClient(site, 1);
  try {
    return await client.role(vpgId);
  } catch (error) {
    if (!(error instanceof NotFound)) throw error;
    throw new NotFound(
      `${site.url} knows no VPG ${vpgId}, nor that one was deleted, so its disks stay. If it was protected there, the table is older than ` +
        "the VPG: stop the site, run farshore site rebuild, start it. If elsewhere, name that site in the configuration",
      { vpgId },
    );
  } finally {
    await client.close();
  }
}

function stateText({ state, term, keptUntil }: LocalDisks): string {
  if (keptUntil !== null) return `kept, goes in ${formatDuration(Math.max(0, keptUntil - Date.now()))}`;
  return term === null ? state : `${state}, term ${term}`;
}

async function list({ config }: ConfigFlag, command: Command): Promise<void> {
  const { output } = contextOf(command);
  const { recovery } = await configOf(config);
  const { localDisks } = await import("../../gateway/export/local-disks.ts");
  const found = await localDisks(recovery.directory);
  result(output, found, () =>
    columns(
      output,
      ["OPERATION", "VPG", "STATE", "DISK", "SIZE", "ON DISK", "FILE"],
      found.flatMap((disks) =>
        disks.volumes.map(({ name, path, sizeBytes, writtenBytes }) => [
          ...[disks.operationId, disks.vpgName, stateText(disks), name],
          ...[formatBytes(sizeBytes), formatBytes(writtenBytes), path],
        ]),
      ),
    ),
  );
}

async function remove(operation: string, flags: ConfigFlag, command: Command): Promise<void> {
  const context = contextOf(command);
  const { recovery, source, stateDirectory } = await configOf(flags.config);
  const [{ removalOf, removeDisks }, { StateDirectory }] = await Promise.all([
    import("../../gateway/export/local-disks.ts"),
    import("../../gateway/state/state-directory.ts"),
  ]);
  const { directory } = recovery;
  const facts = {
    configured: source?.vpg?.name,
    roleOf: (vpgId: Id) => roleAt(recovery.site, vpgId),
  };
  const { whileStopped } = await removalOf(directory, operation, facts);
  const state = whileStopped ? await StateDirectory.open(stateDirectory) : undefined;
  try {
    // Again, since now no gateway can take them up.
    const { disks } = await removalOf(directory, operation, facts);
    const { vpgName, volumes } = disks;
    const bytes = volumes.reduce((sum, { writtenBytes }) => sum + writtenBytes, 0);
    const what = `This deletes ${volumes.length} disks of ${vpgName} (${formatBytes(bytes)}) for good:`;
    await confirmByName(context, [what, ...volumes.map(({ path }) => `  ${path}`)], vpgName);
    await removeDisks(directory, disks);
    result(context.output, { removed: disks.operationId, bytes }, () =>
      context.output.line(`the disks of operation ${disks.operationId} are removed`),
    );
  } finally {
    await state?.close();
  }
}

async function adopt(operation: string, flags: ConfigFlag, command: Command): Promise<void> {
  const { output } = contextOf(command);
  const { recovery, source, stateDirectory } = await configOf(flags.config);
  if (source === undefined)
    throw new InvalidInput(`${flags.config} has no [source] section: it names no paths for disks`);
  const [{ adoptDisks, adoptionOf }, { StateDirectory }] = await Promise.all([
    import("../../gateway/export/adopt-disks.ts"),
    import("../../gateway/state/state-directory.ts"),
  ]);
  const state = await StateDirectory.open(stateDirectory);
  try {
    const roleOf = (vpgId: Id) => roleAt(source.site, vpgId);
    const adoption = await adoptionOf(recovery.directory, operation, { configured: source.vpg, roleOf, state });
    await adoptDisks(recovery.directory, adoption, state);
    const { disks, moves } = adoption;
    const volumes = moves.map(({ vmName, name, to }) => ({ name: `${vmName}/${name}`, path: to }));
    result(output, { adopted: disks.operationId, vpg: disks.vpgName, volumes }, () => {
      for (const { name, path } of volumes) output.line(`${name} is ${path}`);
      output.line(`start the gateway, and power the VMs of ${disks.vpgName} on at the exports of its configuration`);
    });
  } finally {
    await state.close();
  }
}

export function registerGatewayDisks(gateway: Command): void {
  const disks = gateway
    .command("disks")
    .description("See, adopt and remove the disks that operations left at a recovery gateway's machine.");

  disks
    .command("list")
    .requiredOption("--config <file>", "the recovery gateway's configuration")
    .description("List them with their VPG and operation, what they are now, and the room they take.")
    .addHelpText(
      "after",
      "\nStates:\n" +
        "  attached   an operation under way recovers them\n" +
        "  promoted   local disks since a commit, exported by the gateway\n" +
        "  protected  the VPG's own disks, captured last in that term; closed once it runs elsewhere\n" +
        "  left       the same of an earlier cycle: newer ones followed\n" +
        "  kept       scratch from before a rollback or a retarget, which goes by itself\n" +
        "\nExample:\n  farshore gateway disks list --config recovery-gateway.toml\n",
    )
    .action(list);

  disks
    .command("adopt")
    .argument("<operation>", "whose disks, as listed: the VPG's own")
    .requiredOption(
      "--config <file>",
      "the gateway's configuration, whose [source] names the VPG and a path for each volume",
    )
    .description("Make recovered disks that a VPG runs on those of the configuration, which can grow.")
    .addHelpText(
      "after",
      "\nFor a VPG that was failed over or moved here and is protected again. Shut its VMs down and stop the gateway; name the VPG" +
        "\nand its volumes in [source] with paths on the file system of the recovery directory but not in it, at which nothing is" +
        "\nyet. The disks are renamed, not copied, and after a clean stop nothing of them is compared again.\n" +
        "\nExample:\n  farshore gateway disks adopt ID --config gateway.toml\n",
    )
    .action(adopt);

  disks
    .command("remove")
    .argument("<operation>", "whose disks, as listed")
    .requiredOption("--config <file>", "the recovery gateway's configuration")
    .description("Delete disks that nothing needs any more.")
    .addHelpText(
      "after",
      "\nThose that are left go at any time. Promoted or protected ones go once the VPG is journaled at the gateway's site" +
        "\nagain, or deleted there: the site is asked with the gateway's token, and the gateway must be stopped. Of protected ones" +
        "\nthose that are left go first. What is in use, kept, or needed by a reverse protection is refused.\n" +
        "\nExample:\n  farshore gateway disks remove ID --config recovery-gateway.toml\n",
    )
    .action(remove);
}
