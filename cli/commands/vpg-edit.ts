import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import {
  type CreateVpg,
  editedVpgSchema,
  gatewayViewSchema,
  vpgDefinitionSchema,
  vpgViewSchema,
} from "#core/api/site-api.ts";
import { FarshoreError, InvalidInput } from "#core/errors.ts";
import { checkAlone } from "#core/protection/definition-input.ts";
import { confirmByName } from "../confirm.ts";
import { contextOf } from "../context.ts";
import { type Output, result } from "../output.ts";
import type { SiteClient } from "../site-client.ts";
import { readVpgFile } from "../vpg-file.ts";
import { vpgToml } from "../vpg-toml.ts";

const namesSchema = z.object({ vpgs: z.array(vpgViewSchema.pick({ name: true })) });
const gatewaysSchema = z.object({ gateways: z.array(gatewayViewSchema) });

const definitionPath = (vpg: string): string => `/v1/vpgs/${encodeURIComponent(vpg)}/definition`;

export function registerVpgEdit(vpg: Command): void {
  vpg
    .command("edit")
    .argument("<vpg>", "name or id")
    .argument("<file>", "TOML file that says the whole group as it shall be (farshore vpg export writes it as it is)")
    .option("--dry-run", "only say what would change")
    .description("Change a VPG: its settings, and volumes that are added, removed or grown.")
    .addHelpText(
      "after",
      "\nOlder checkpoints keep the volumes and sizes they had. A volume can't shrink. The source gateway takes a change of" +
        "\nvolumes up by itself once its configuration file agrees with it; what is new is synced first.\n" +
        "\nExample:\n  farshore vpg edit shop shop.toml\n",
    )
    .action(async (name: string, file: string, flags: { readonly dryRun?: true }, command: Command) => {
      const context = contextOf(command);
      const client = context.client();
      const definition = readVpgFile(file);
      const { revision } = await client.get(definitionPath(name), vpgDefinitionSchema);
      const ask = { definition, revision };
      const planned = await client.post(definitionPath(name), editedVpgSchema, { ...ask, dryRun: true });
      if (planned.changes.length === 0 || flags.dryRun === true) {
        result(context.output, planned, () => printChanges(context.output, definition.name, planned.changes));
        return;
      }
      await confirmByName(
        context,
        [`${definition.name}:`, ...planned.changes.map((line) => `  ${line}`)],
        definition.name,
      );
      const edited = await client.post(definitionPath(name), editedVpgSchema, { ...ask, dryRun: false });
      result(context.output, edited, () =>
        context.output.line(`${definition.name} is revision ${edited.revision} now`),
      );
    });

  vpg
    .command("export")
    .argument("[vpg]", "name or id")
    .option("--all", "every VPG of the site")
    .option("--output <directory>", "write NAME.toml there instead of printing it; needed with --all")
    .description("Write VPGs as the files that create, edit and import take.")
    .addHelpText(
      "after",
      "\nWith --json and without --output the definition is printed as JSON; create, edit and import take TOML.\n\nExample:\n  farshore vpg export --all --output definitions\n",
    )
    .action(
      async (name: string | undefined, flags: { readonly all?: true; readonly output?: string }, command: Command) => {
        const { output, client } = contextOf(command);
        if ((name === undefined) === (flags.all === undefined)) throw new InvalidInput("name one VPG, or say --all");
        if (flags.all === true && flags.output === undefined) throw new InvalidInput("--all needs --output DIRECTORY");
        const site = client();
        const names =
          name === undefined ? (await site.get("/v1/vpgs", namesSchema)).vpgs.map((each) => each.name) : [name];
        const definitions: CreateVpg[] = [];
        for (const each of names)
          definitions.push((await site.get(definitionPath(each), vpgDefinitionSchema)).definition);
        const directory = flags.output;
        if (directory === undefined) {
          const [definition] = definitions;
          if (definition !== undefined) result(output, definition, () => output.line(vpgToml(definition).trimEnd()));
          return;
        }
        mkdirSync(directory, { recursive: true });
        const files = definitions.map((definition) => join(directory, `${definition.name}.toml`));
        const texts = definitions.map((definition) => vpgToml(definition));
        for (const [index, file] of files.entries()) assertNotEdited(file, texts[index] ?? "");
        for (const [index, file] of files.entries()) writeFileSync(file, texts[index] ?? "");
        result(output, { files }, () => {
          for (const file of files) output.line(file);
        });
      },
    );

  vpg
    .command("import")
    .argument("<directory>", "its *.toml files are read")
    .option("--create", "create what is missing; without it nothing is changed")
    .description("Compare VPGs with files, and create those that the site lacks.")
    .addHelpText(
      "after",
      "\nA VPG that the site has in another form is only told of; farshore vpg edit changes it. When a file can't be taken," +
        "\nnothing is created.\n\nExample:\n  farshore vpg import definitions --create\n",
    )
    .action(async (directory: string, flags: { readonly create?: true }, command: Command) => {
      const { output, client } = contextOf(command);
      const site = client();
      const plans = await planImport(site, readDefinitions(directory));
      const problems = plans.filter(({ state }) => state === "problem");
      const told = plans.map(({ name, state, lines }) => ({ name, state, lines }));
      const act = flags.create === true && problems.length === 0;
      if (act)
        for (const { state, definition } of plans) {
          if (state === "missing") await site.post("/v1/vpgs", vpgViewSchema, definition);
        }
      result(output, { created: act, vpgs: told }, () => {
        for (const { name, state, lines } of told) {
          output.line(`${name}: ${act && state === "missing" ? "created" : state}`);
          for (const line of lines) output.line(`  ${line}`);
        }
      });
      if (problems.length > 0)
        throw new InvalidInput(`${problems.length} of ${plans.length} can't be taken; nothing was created`);
    });
}

function printChanges(output: Output, name: string, changes: readonly string[]): void {
  if (changes.length === 0) output.line(`${name}: nothing would change`);
  for (const line of changes) output.line(line);
}

/** In the order in which they can be created: after what they depend on. */
function readDefinitions(directory: string): readonly CreateVpg[] {
  if (!existsSync(directory)) throw new InvalidInput(`there is no directory ${directory}`, { directory });
  const files = readdirSync(directory).filter((file) => file.endsWith(".toml"));
  if (files.length === 0) throw new InvalidInput(`there is no *.toml file in ${directory}`, { directory });
  const read = new Map(files.sort().map((file) => [file, readVpgFile(join(directory, file))]));
  const byName = new Map<string, CreateVpg>();
  for (const [file, definition] of read) {
    if (byName.has(definition.name))
      throw new InvalidInput(`${join(directory, file)}: ${definition.name} stands twice`);
    byName.set(definition.name, definition);
  }
  const ordered = new Set<CreateVpg>();
  const open = new Set<string>();
  const visit = (definition: CreateVpg): void => {
    if (open.has(definition.name)) return;
    open.add(definition.name);
    for (const other of definition.trigger.dependsOn) {
      const first = byName.get(other);
      if (first !== undefined) visit(first);
    }
    ordered.add(definition);
  };
  for (const definition of byName.values()) visit(definition);
  return [...ordered];
}

interface PlannedImport {
  readonly name: string;
  readonly state: "missing" | "same" | "differs" | "problem";
  readonly lines: readonly string[];
  readonly definition: CreateVpg;
}

async function planImport(site: SiteClient, definitions: readonly CreateVpg[]): Promise<readonly PlannedImport[]> {
  const there = new Set((await site.get("/v1/vpgs", namesSchema)).vpgs.map(({ name }) => name));
  const gateways = new Set((await site.get("/v1/gateways", gatewaysSchema)).gateways.map(({ name }) => name));
  const known = new Set([...there, ...definitions.map(({ name }) => name)]);
  const plans: PlannedImport[] = [];
  for (const definition of definitions) {
    const { name } = definition;
    const planned = there.has(name) ? await compare(site, definition) : missingOf(definition, gateways, known);
    plans.push({ name, definition, ...planned });
  }
  return plans;
}

async function compare(site: SiteClient, definition: CreateVpg): Promise<Pick<PlannedImport, "state" | "lines">> {
  const { revision } = await site.get(definitionPath(definition.name), vpgDefinitionSchema);
  try {
    const ask = { definition, revision, dryRun: true };
    const { changes } = await site.post(definitionPath(definition.name), editedVpgSchema, ask);
    return { state: changes.length === 0 ? "same" : "differs", lines: changes };
  } catch (error) {
    if (!(error instanceof FarshoreError) || error.kind === "retryable") throw error;
    return { state: "differs", lines: [`${error.name}: ${error.message}`] };
  }
}

/** What the site would refuse of a VPG that it doesn't have. */
function missingOf(
  definition: CreateVpg,
  gateways: ReadonlySet<string>,
  vpgs: ReadonlySet<string>,
): Pick<PlannedImport, "state" | "lines"> {
  const { sourceGateway, recoveryGateway, vms, trigger } = definition;
  const named = new Set([
    sourceGateway,
    recoveryGateway ?? sourceGateway,
    ...vms.flatMap((vm) => vm.sourceGateway ?? []),
  ]);
  const lines = [
    ...refusalOf(definition),
    ...[...named]
      .filter((name) => !gateways.has(name))
      .map((name) => `no gateway "${name}" at this site; farshore token create --role gateway --name ${name}`),
    ...trigger.dependsOn.filter((name) => !vpgs.has(name)).map((name) => `depends on ${name}, which is nowhere`),
  ];
  return { state: lines.length === 0 ? "missing" : "problem", lines };
}

function refusalOf(definition: CreateVpg): readonly string[] {
  try {
    checkAlone(definition);
    return [];
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return [error.message];
  }
}

/** Not over a file that says something else: it may be an edit that the site doesn't have yet. */
function assertNotEdited(file: string, text: string): void {
  if (!existsSync(file) || readFileSync(file, "utf8") === text) return;
  throw new InvalidInput(`${file} is there and says something else; move it away, or say another --output`, { file });
}
