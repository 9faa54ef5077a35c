import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { FolderSync } from "#adapters/embedded/folder-sync.ts";
import { acquireLock, type ProcessLock } from "#adapters/embedded/process-lock.ts";
import { Corrupt } from "#core/errors.ts";

/** A state directory as its users see it. */
export type StateStore = Pick<StateDirectory, "read" | "write" | "remove" | "list">;

/**
 * What a gateway must know in its next life: small JSON documents in one directory, held by one process. A document is
 * replaced whole and is durable before `write` resolves; writes of one name are done one after the other.
 */
export class StateDirectory {
  readonly path: string;
  readonly #lock: ProcessLock;
  readonly #folderSync = new FolderSync();
  readonly #last = new Map<string, Promise<void>>();

  private constructor(path: string, lock: ProcessLock) {
    this.path = path;
    this.#lock = lock;
  }

  /** Throws `DirectoryInUse` while another process holds it, `InvalidInput` where no directory can be. */
  static async open(path: string): Promise<StateDirectory> {
    return new StateDirectory(path, acquireLock(path, "farshore gateway"));
  }

  /** Undefined when there is no such document; `Corrupt` when it can't be what we wrote. */
  async read<Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.infer<Schema> | undefined> {
    let text: string;
    try {
      text = await readFile(this.#file(name), "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
    try {
      return schema.parse(JSON.parse(text));
    } catch (cause) {
      throw new Corrupt(
        `${this.#file(name)} is not what this gateway wrote; move it away to start over with a full sync`,
        { name },
        { cause },
      );
    }
  }

  write(name: string, value: unknown): Promise<void> {
    return this.#inTurn(name, async () => {
      const temporary = `${this.#file(name)}.tmp`;
      const file = await open(temporary, "w", 0o600);
      try {
        await file.writeFile(`${JSON.stringify(value)}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#file(name));
      await this.#folderSync.sync(this.path);
    });
  }

  /** Idempotent. */
  remove(name: string): Promise<void> {
    return this.#inTurn(name, () => rm(this.#file(name), { force: true }));
  }

  /** Names of the documents that start with `prefix`. */
  async list(prefix: string): Promise<readonly string[]> {
    const files = await readdir(this.path);
    return files
      .filter((file) => file.startsWith(prefix) && file.endsWith(".json"))
      .map((file) => file.slice(0, -".json".length));
  }

  /** Waits for writes under way and lets the directory go. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#last.values());
    this.#lock.release();
  }

  #file(name: string): string {
    return join(this.path, `${name}.json`);
  }

  #inTurn(name: string, work: () => Promise<void>): Promise<void> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#last.set(name, turn);
    return turn;
  }
}
