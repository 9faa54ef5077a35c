import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { makeFolders } from "#adapters/embedded/make-folders.ts";
import { InvalidInput } from "#core/errors.ts";
import { contextOf } from "../context.ts";
import { examples } from "../examples.ts";
import { result } from "../output.ts";

export function registerInit(program: Command): void {
  program
    .command("init")
    .argument("<dir>", "where to write them; made if absent")
    .description("Write commented example files: a VPG, its source gateway and its recovery gateway.")
    .addHelpText("after", "\nExample:\n  farshore init shop\n")
    .action((dir: string, _options: unknown, command: Command) => {
      const { output } = contextOf(command);
      makeFolders(dir);
      const written = Object.entries(examples).map(([name, text]) => {
        const file = join(dir, name);
        try {
          writeFileSync(file, text, { flag: "wx" });
        } catch (cause) {
          throw new InvalidInput(`cannot write ${file}: it exists, or the directory is not writable`, {}, { cause });
        }
        return file;
      });
      result(output, written, () => {
        for (const file of written) output.line(file);
        output.note("Next: farshore site serve, farshore token create, then farshore vpg create.");
      });
    });
}
