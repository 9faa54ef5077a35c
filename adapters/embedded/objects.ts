import { randomBytes } from "node:crypto";
import { lstat, mkdir, readdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Forbidden, InvalidInput } from "#core/errors.ts";
import { assertKey, assertPrefix, assertPurge, listLimit, reservedSegment } from "#core/object-key.ts";
import type { ByteRange, ObjectInfo, Objects } from "#core/ports.ts";
import { errorCode, fileTrouble } from "./file-errors.ts";
import { FolderListings, placeOf } from "./folder-names.ts";
import { FolderSync } from "./folder-sync.ts";
import { knownFoldersMax, statsAtOnce } from "./limits.ts";
import { readPart } from "./read-part.ts";
import { claim, exists, ignoreMissing, replace, sweep, writeWhole } from "./whole-file.ts";

/**
 * Objects as files `<root>/<key>` (R10). Create-if-absent is `link(2)` of a whole, synced temporary file: the kernel lets
 * exactly one process win, and a name never shows half an object. Folders are never removed, so a name that was a folder
 * once can't become an object. Several processes may use one root.
 */
export class FileObjects implements Objects {
  readonly #root: string;
  readonly #temporary: string;
  readonly #readOnly: boolean;
  readonly #sync = new FolderSync();
  readonly #listings = new FolderListings();
  /** Folders whose own names are durable, so that only the first put into each pays for that. */
  readonly #durableFolders = new Set<string>();
  /**
   * Keys whose name may be visible and not yet durable. A reader that saw one waits before it answers: what it tells may
   * be acted upon durably elsewhere, so nobody may see what a power cut could still take back.
   */
  readonly #settling = new Map<string, Promise<void>>();
  readonly #instance = `${process.pid}-${randomBytes(6).toString("hex")}`;
  #serial = 0;

  private constructor(root: string, readOnly: boolean) {
    this.#root = root;
    this.#temporary = join(root, reservedSegment);
    this.#readOnly = readOnly;
  }

  /**
   * Opens the bucket at `root` and makes it if need be; removes temporary files of dead processes. `readOnly` touches
   * nothing on disk, and `put` and `delete` throw `Forbidden`.
   */
  static async open(root: string, options: { readonly readOnly?: boolean } = {}): Promise<FileObjects> {
    const objects = new FileObjects(resolve(root), options.readOnly === true);
    if (!objects.#readOnly) await objects.#prepare();
    return objects;
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    assertKey(key);
    return this.#guard(key, async () => {
      const body = await readPart(this.#path(key), key, range);
      await this.#settling.get(key);
      return body;
    });
  }

  async put(
    key: string,
    body: Uint8Array,
    options: { readonly ifAbsent?: boolean } = {},
  ): Promise<"created" | "exists"> {
    assertKey(key);
    this.#assertWritable();
    return this.#guard(key, async () => {
      const path = this.#path(key);
      const folder = dirname(path);
      await this.#makeFolder(folder, key);
      // A resent batch costs one look, not 4 MiB written again. What exists must be durable before anyone is told so.
      if (options.ifAbsent === true && (await exists(path, key))) {
        await this.#sync.sync(folder);
        return "exists";
      }
      const temporary = join(this.#temporary, `${this.#instance}-${this.#serial++}`);
      try {
        await writeWhole(temporary, body);
        if (options.ifAbsent !== true) {
          await this.#settle(key, replace(temporary, path, key), folder);
          return "created";
        }
        const won = await this.#settle(key, claim(temporary, path, key), folder);
        return won ? "created" : "exists";
      } catch (error) {
        await unlink(temporary).catch(ignoreMissing);
        throw error;
      }
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    return this.#guard(key, () => this.#info(key));
  }

  async list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly ObjectInfo[]> {
    assertPrefix(prefix);
    const limit = listLimit(options.limit);
    return this.#guard(prefix, async () => {
      const found: ObjectInfo[] = [];
      let keys: string[] = [];
      const flush = async () => {
        const infos = await Promise.all(keys.map((key) => this.#info(key)));
        // One deleted since its folder was read is absent, and the page goes on.
        for (const info of infos) if (info !== undefined) found.push(info);
        keys = [];
      };
      for await (const key of this.#walk(prefix.slice(0, prefix.lastIndexOf("/") + 1), prefix, options.after ?? "")) {
        keys.push(key);
        if (keys.length >= Math.min(statsAtOnce, limit - found.length)) await flush();
        if (found.length >= limit) return found;
      }
      await flush();
      return found;
    });
  }

  async purge(keys: readonly string[]): Promise<void> {
    for (const key of assertPurge(keys)) await this.delete(key);
  }

  async delete(key: string): Promise<void> {
    assertKey(key);
    this.#assertWritable();
    await this.#guard(key, async () => {
      const path = this.#path(key);
      try {
        await unlink(path);
      } catch (error) {
        const code = errorCode(error);
        if (code === "ENOENT" || code === "ENOTDIR") return;
        // Unlinking a folder: EISDIR on Linux, EPERM on macOS. No such object, so nothing to delete.
        if ((code === "EISDIR" || code === "EPERM") && (await lstat(path)).isDirectory()) return;
        throw error;
      }
      await this.#sync.sync(dirname(path));
    });
  }

  #path(key: string): string {
    return `${this.#root}/${key}`;
  }

  #assertWritable(): void {
    if (this.#readOnly) throw new Forbidden(`The bucket ${this.#root} was opened read-only.`);
  }

  async #guard<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw fileTrouble(error, `Object ${key} in ${this.#root}`, key);
    }
  }

  /** Waits for the name and then for its folder; readers that saw the name meanwhile wait as well. */
  async #settle<T>(key: string, naming: Promise<T>, folder: string): Promise<T> {
    const done = (async () => {
      const answer = await naming;
      await this.#sync.sync(folder);
      return answer;
    })();
    const settling: Promise<void> = Promise.allSettled([this.#settling.get(key), done]).then(() => {
      if (this.#settling.get(key) === settling) this.#settling.delete(key);
    });
    this.#settling.set(key, settling);
    return done;
  }

  async #info(key: string): Promise<ObjectInfo | undefined> {
    try {
      const info = await stat(this.#path(key));
      await this.#settling.get(key);
      return info.isFile() ? { key, size: info.size } : undefined;
    } catch (error) {
      const code = errorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  }

  /** Keys under `folder` ("" or ending in "/") in byte order, without entering what the prefix or `after` excludes. */
  async *#walk(folder: string, prefix: string, after: string): AsyncGenerator<string> {
    const names = await this.#listings.names(this.#path(folder));
    const wanted = prefix.startsWith(folder) ? prefix.slice(folder.length) : "";
    const slash = wanted.indexOf("/");
    const start = slash === -1 ? wanted : wanted.slice(0, slash + 1);
    let from = placeOf(names, start);
    if (after.startsWith(folder)) {
      // The name that holds `after` itself: a folder is entered again, a file is passed over below.
      const rest = after.slice(folder.length);
      const cut = rest.indexOf("/");
      from = Math.max(from, placeOf(names, cut === -1 ? rest : rest.slice(0, cut + 1)));
    } else if (after > folder) return;
    for (let place = from; place < names.length; place++) {
      const name = names[place] ?? "";
      if (!name.startsWith(start)) return;
      const key = folder + name;
      if (key === `${reservedSegment}/`) continue;
      if (name.endsWith("/")) yield* this.#walk(key, prefix, after < key ? "" : after);
      else if (key > after) yield key;
    }
  }

  /** Makes a folder and all above it durable, down from the root; refuses a key that lies under an object. */
  async #makeFolder(folder: string, key: string): Promise<void> {
    if (this.#durableFolders.has(folder) || folder === this.#root) return;
    const above = dirname(folder);
    await this.#makeFolder(above, key);
    try {
      await mkdir(folder);
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
      if (!(await lstat(folder)).isDirectory())
        throw new InvalidInput(`The key ${key} lies under the object ${folder.slice(this.#root.length + 1)}.`, { key });
    }
    // Also when it was there already: whoever made it may have died before this fsync.
    await this.#sync.sync(above);
    if (this.#durableFolders.size >= knownFoldersMax) this.#durableFolders.clear();
    this.#durableFolders.add(folder);
  }

  async #prepare(): Promise<void> {
    try {
      const made = await mkdir(this.#temporary, { recursive: true });
      if (made !== undefined)
        for (let folder = this.#temporary; ; folder = dirname(folder)) {
          await this.#sync.sync(dirname(folder));
          if (folder === made) break;
        }
      for (const name of await readdir(this.#temporary)) await sweep(join(this.#temporary, name));
    } catch (error) {
      throw fileTrouble(error, `Bucket ${this.#root}`);
    }
  }
}
