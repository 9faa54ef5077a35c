import { InvalidInput, NotFound } from "#core/errors.ts";
import { assertKey, assertPrefix, assertPurge, cutRange, listLimit } from "#core/object-key.ts";
import type { ByteRange, ObjectInfo, Objects } from "#core/ports.ts";

/** Objects in memory, for tests and simulation; the same contract as every other store, and nothing survives. */
export class MemoryObjects implements Objects {
  readonly #bodies = new Map<string, Uint8Array>();
  /** Every key in byte order (keys are ASCII, so code-unit order is byte order). */
  readonly #keys: string[] = [];

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    assertKey(key);
    const body = this.#bodies.get(key);
    if (body === undefined) throw new NotFound(`There is no object ${key}.`, { key });
    const { offset, length } = cutRange(range, body.length);
    return body.slice(offset, offset + length);
  }

  async put(
    key: string,
    body: Uint8Array,
    options: { readonly ifAbsent?: boolean } = {},
  ): Promise<"created" | "exists"> {
    assertKey(key);
    const present = this.#bodies.has(key);
    if (present && options.ifAbsent === true) return "exists";
    if (!present) {
      this.#refuseFolders(key);
      this.#keys.splice(this.#place(key), 0, key);
    }
    this.#bodies.set(key, Uint8Array.from(body));
    return "created";
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    const body = this.#bodies.get(key);
    return body === undefined ? undefined : { key, size: body.length };
  }

  async list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly ObjectInfo[]> {
    assertPrefix(prefix);
    const limit = listLimit(options.limit);
    const found: ObjectInfo[] = [];
    const after = options.after;
    let place = this.#place(after !== undefined && after > prefix ? after : prefix);
    for (; found.length < limit; place++) {
      const key = this.#keys[place];
      if (key === undefined || !key.startsWith(prefix)) break;
      if (after !== undefined && key <= after) continue;
      found.push({ key, size: this.#bodies.get(key)?.length ?? 0 });
    }
    return found;
  }

  async delete(key: string): Promise<void> {
    assertKey(key);
    if (this.#bodies.delete(key)) this.#keys.splice(this.#place(key), 1);
  }

  async purge(keys: readonly string[]): Promise<void> {
    for (const key of assertPurge(keys)) await this.delete(key);
  }

  /** A file system can't hold `a` and `a/b`, so no store here does. */
  #refuseFolders(key: string): void {
    const child = this.#keys[this.#place(`${key}/`)];
    if (child?.startsWith(`${key}/`))
      throw new InvalidInput(`The key ${key} is a folder of other keys (${child}).`, { key });
    for (let slash = key.lastIndexOf("/"); slash > 0; slash = key.lastIndexOf("/", slash - 1)) {
      const folder = key.slice(0, slash);
      if (this.#bodies.has(folder)) throw new InvalidInput(`The key ${key} lies under the object ${folder}.`, { key });
    }
  }

  /** The place of the first key that isn't before `key`. */
  #place(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
