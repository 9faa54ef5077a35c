import type { Table, TableAction, TableItem, TableKey } from "#core/ports.ts";
import {
  assertCondition,
  assertKeyPart,
  assertTableKey,
  decodeCursor,
  encodeActions,
  encodeCursor,
  keyOfAction,
  partitionKeyBytesMax,
  queryLimit,
  sortKeyBytesMax,
} from "#core/table-rules.ts";

interface Stored {
  readonly rev: number;
  readonly json: string;
}

/** Partition to sort key to item. */
export type TableSnapshot = ReadonlyMap<string, ReadonlyMap<string, Stored>>;

/** Items in memory, which a simulation copies and puts back, as a person restores a backup. */
export class MemoryTable implements Table {
  #items = new Map<string, Map<string, Stored>>();

  snapshot(): TableSnapshot {
    return new Map([...this.#items].map(([pk, items]) => [pk, new Map(items)]));
  }

  restore(snapshot: TableSnapshot): void {
    this.#items = new Map([...snapshot].map(([pk, items]) => [pk, new Map(items)]));
  }

  async get(key: TableKey): Promise<TableItem | undefined> {
    assertTableKey(key);
    return this.#read(key);
  }

  async query(
    pk: string,
    options: Parameters<Table["query"]>[1] = {},
  ): Promise<{ readonly items: readonly TableItem[]; readonly cursor?: string }> {
    assertKeyPart("pk", pk, partitionKeyBytesMax);
    const limit = queryLimit(options.limit);
    const { from = "", to, reverse = false } = options;
    if (from !== "") assertKeyPart("from", from, sortKeyBytesMax);
    if (to !== undefined && to !== "") assertKeyPart("to", to, sortKeyBytesMax);
    const after = options.cursor === undefined ? undefined : Buffer.from(decodeCursor(options.cursor));
    const keys = [...(this.#items.get(pk)?.keys() ?? [])]
      .map((sk) => ({ sk, bytes: Buffer.from(sk) }))
      .filter(({ bytes }) => bytes.compare(Buffer.from(from)) >= 0)
      .filter(({ bytes }) => to === undefined || bytes.compare(Buffer.from(to)) < 0)
      .filter(({ bytes }) => after === undefined || (reverse ? bytes.compare(after) < 0 : bytes.compare(after) > 0))
      .sort((left, right) => (reverse ? right.bytes.compare(left.bytes) : left.bytes.compare(right.bytes)));
    const items = keys.slice(0, limit).flatMap(({ sk }) => this.#read({ pk, sk }) ?? []);
    const last = items.at(-1);
    return keys.length > limit && last !== undefined ? { items, cursor: encodeCursor(last.sk) } : { items };
  }

  async transact(actions: readonly TableAction[]): Promise<void> {
    const texts = encodeActions(actions);
    for (const [index, action] of actions.entries()) {
      const key = keyOfAction(action);
      assertCondition(action.if, this.#read(key), index, key);
    }
    for (const [index, action] of actions.entries()) {
      const { pk, sk } = keyOfAction(action);
      const items = this.#items.get(pk) ?? new Map<string, Stored>();
      this.#items.set(pk, items);
      if ("put" in action) items.set(sk, { rev: (items.get(sk)?.rev ?? 0) + 1, json: texts[index] ?? "" });
      else if ("delete" in action) items.delete(sk);
    }
  }

  #read({ pk, sk }: TableKey): TableItem | undefined {
    const stored = this.#items.get(pk)?.get(sk);
    return stored && { pk, sk, rev: stored.rev, fields: JSON.parse(stored.json) };
  }
}
