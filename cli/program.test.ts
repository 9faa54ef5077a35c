import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { makeProgram } from "./program.ts";

function withInner(command: Command): Command[] {
  return command.commands.flatMap((inner) => [inner, ...withInner(inner)]);
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** The help as it is printed, with what is added after it. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text;
}

const commands = withInner(makeProgram()).map((command) => [pathOf(command), command] as const);
const leaves = commands.filter(([, command]) => command.commands.length === 0);

describe("the command line", () => {
  it.each(commands)("%s says what it does in one sentence, and its exit status", (_, command) => {
    expect(command.description()).toMatch(/^[A-Z][^.]+\.$/);
    expect(helpOf(command)).toMatch(/^Exit status:\n {2}0 /m);
  });

  it.each(leaves)("%s shows an example that names it, and describes what it takes", (path, command) => {
    expect(helpOf(command)).toMatch(new RegExp(`^Examples?:\\n(.*\\n)*? {2}(\\S+=\\S+ )?${path}( |$)`, "m"));
    for (const { description } of [...command.options, ...command.registeredArguments])
      expect(description).not.toBe("");
  });

  it("marks the options that must be given", () => {
    const serve = leaves.find(([path]) => path === "farshore site serve")?.[1];
    expect(serve && helpOf(serve)).toMatch(/--name <name> .*\(required\)/);
  });
});
