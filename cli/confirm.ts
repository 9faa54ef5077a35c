import { isCancel, text } from "@clack/prompts";
import { InvalidInput } from "#core/errors.ts";
import type { Context } from "./context.ts";

/** Says what will be destroyed and goes on only when the name is typed again, or `--yes` was given. */
export async function confirmByName(context: Context, consequences: readonly string[], name: string): Promise<void> {
  for (const line of consequences) context.output.note(line);
  if (context.yes) return;
  if (process.stdin.isTTY !== true) throw new InvalidInput("nobody to ask here: add --yes to go on");
  const answer = await text({ message: `Type ${name} to go on` });
  if (isCancel(answer) || answer !== name) throw new InvalidInput("not confirmed; nothing was changed");
}
