import { readFileSync, statSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { InvalidInput } from "#core/errors.ts";
import { cliLimits } from "./limits.ts";

/** A TOML file in the shape of `schema`; anything else is an `InvalidInput` that names the file and the key. */
export function readToml<T extends z.ZodType>(file: string, schema: T): z.infer<T> {
  let text: string;
  try {
    if (statSync(file).size > cliLimits.configBytes)
      throw new InvalidInput(`${file} is larger than any configuration file`);
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (cause instanceof InvalidInput) throw cause;
    throw new InvalidInput(
      `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {},
      { cause },
    );
  }
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new InvalidInput(
      `${file} is not TOML: ${cause instanceof Error ? cause.message : String(cause)}`,
      {},
      { cause },
    );
  }
  const parsed = schema.safeParse(document);
  if (!parsed.success) throw new InvalidInput(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
