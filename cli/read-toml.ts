import { parse } from "smol-toml";
import { z } from "zod";
import { namedFileBytesMax } from "#adapters/embedded/limits.ts";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { InvalidInput } from "#core/errors.ts";
import { boundText } from "#core/json.ts";

/** A TOML file in the shape of `schema`; anything else is an `InvalidInput` that names the file and the key. */
export function readToml<T extends z.ZodType>(file: string, schema: T): z.infer<T> {
  const text = readBounded(file, "The file", namedFileBytesMax).toString("utf8");
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
  const parsed = schema.safeParse(document, { error: boundText });
  if (!parsed.success) throw new InvalidInput(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
