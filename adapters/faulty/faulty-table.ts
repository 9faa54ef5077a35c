import type { Table, TableAction, TableItem, TableKey } from "#core/ports.ts";
import { callWithFaults, readFaults, writeFaults } from "./call-with-faults.ts";
import type { FaultPlan } from "./fault-plan.ts";

/**
 * A Table of which some calls fail, as the plan has it. A duplicated transaction may answer `ConditionFailed` although its
 * first copy was applied: what a client sees after a retry that it doesn't know of.
 */
export class FaultyTable implements Table {
  readonly #inner: Table;
  readonly #plan: FaultPlan;

  constructor(inner: Table, plan: FaultPlan) {
    this.#inner = inner;
    this.#plan = plan;
  }

  get(key: TableKey): Promise<TableItem | undefined> {
    return callWithFaults(this.#plan, "get", readFaults, () => this.#inner.get(key));
  }

  query(
    pk: string,
    options?: Parameters<Table["query"]>[1],
  ): Promise<{ readonly items: readonly TableItem[]; readonly cursor?: string }> {
    return callWithFaults(this.#plan, "query", readFaults, () => this.#inner.query(pk, options));
  }

  transact(actions: readonly TableAction[]): Promise<void> {
    return callWithFaults(this.#plan, "transact", writeFaults, () => this.#inner.transact(actions));
  }
}
