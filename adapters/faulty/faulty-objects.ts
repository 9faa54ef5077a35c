import type { ByteRange, ObjectInfo, Objects } from "#core/ports.ts";
import { callWithFaults, injected, readFaults, writeFaults } from "./call-with-faults.ts";
import type { FaultPlan } from "./fault-plan.ts";

/** Objects of which some calls fail, as the plan has it. */
export class FaultyObjects implements Objects {
  readonly #inner: Objects;
  readonly #plan: FaultPlan;

  constructor(inner: Objects, plan: FaultPlan) {
    this.#inner = inner;
    this.#plan = plan;
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const call = () => this.#inner.get(key, range);
    return callWithFaults(this.#plan, "get", [...readFaults, "shortRead"], call, {
      shortRead: async () => {
        const body = await call();
        return body.slice(0, this.#plan.random.below(body.length));
      },
    });
  }

  put(key: string, body: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<"created" | "exists"> {
    const call = () => this.#inner.put(key, body, options);
    return callWithFaults(this.#plan, "put", [...writeFaults, "tornPut"], call, {
      tornPut: async () => {
        await this.#inner.put(key, body.subarray(0, this.#plan.random.below(body.length)), options);
        throw injected(this.#plan, "put", "tornPut");
      },
    });
  }

  head(key: string): Promise<ObjectInfo | undefined> {
    return callWithFaults(this.#plan, "head", readFaults, () => this.#inner.head(key));
  }

  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<readonly ObjectInfo[]> {
    return callWithFaults(this.#plan, "list", readFaults, () => this.#inner.list(prefix, options));
  }

  purge(keys: readonly string[]): Promise<void> {
    return callWithFaults(this.#plan, "purge", writeFaults, () => this.#inner.purge(keys));
  }

  delete(key: string): Promise<void> {
    return callWithFaults(this.#plan, "delete", writeFaults, () => this.#inner.delete(key));
  }
}
