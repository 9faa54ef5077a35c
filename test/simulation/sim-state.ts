import type { z } from "zod";
import type { StateStore } from "../../gateway/state/state-directory.ts";

/** A gateway's state directory in memory: what was written is durable. */
export class SimState implements StateStore {
  readonly #documents = new Map<string, string>();

  async read<Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.infer<Schema> | undefined> {
    const text = this.#documents.get(name);
    return text === undefined ? undefined : schema.parse(JSON.parse(text));
  }

  async write(name: string, value: unknown): Promise<void> {
    this.#documents.set(name, JSON.stringify(value));
  }

  async remove(name: string): Promise<void> {
    this.#documents.delete(name);
  }

  /** What a person does with an editor while the gateway is stopped: fields of one document get other values. */
  edit(name: string, changes: object): void {
    const text = this.#documents.get(name);
    if (text !== undefined) this.#documents.set(name, JSON.stringify({ ...JSON.parse(text), ...changes }));
  }

  async list(prefix: string): Promise<readonly string[]> {
    return [...this.#documents.keys()].filter((name) => name.startsWith(prefix));
  }
}
