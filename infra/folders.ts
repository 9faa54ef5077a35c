import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root, which every path here is relative to. */
export const root = fileURLToPath(new URL("..", import.meta.url));

function foldersWith(area: string, file: (folder: string) => string): readonly string[] {
  return readdirSync(join(root, area), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(root, area, entry.name, file(entry.name))))
    .map(({ name }) => name)
    .sort();
}

/** Folders of functions/ that are a Lambda: those with a handler. */
export const functionFolders: readonly string[] = foldersWith("functions", () => "handler.ts");

/** Folders of workflows/ that are a state machine. */
export const machineFolders: readonly string[] = foldersWith("workflows", (folder) => `${folder}.asl.json`);

export const handlerFile = (folder: string): string => `functions/${folder}/handler.ts`;

/** "mint-term" → "MintTerm": for ids of constructs and the placeholders of the ASL documents. */
export function pascalCase(folder: string): string {
  return folder.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A state machine's document as it is deployed, without its line breaks, the functions that it names, and whether it starts itself. */
export function machineDocument(folder: string): {
  readonly text: string;
  readonly functions: readonly string[];
  readonly distributed: boolean;
} {
  const source = readFileSync(join(root, "workflows", folder, `${folder}.asl.json`), "utf8");
  const named = new Set([...source.matchAll(/\$\{(\w+)FunctionArn\}/g)].map(([, name]) => name));
  return {
    text: JSON.stringify(JSON.parse(source)),
    functions: functionFolders.filter((name) => named.has(pascalCase(name))),
    distributed: source.includes('"DISTRIBUTED"'),
  };
}
