import { statfs } from "node:fs/promises";
import type { GatewayMeans } from "#core/api/gateway-api.ts";
import { protectionLimits } from "#core/protection/limits.ts";
import type { VmHooks } from "../config.ts";

/** What this gateway has for a failover, as its heartbeats tell it. */
export class Means {
  readonly #hooks: GatewayMeans["hooks"];
  readonly #directory: string | undefined;
  #freeBytes: number | null = null;
  #asking = false;

  /** `directory` is the recovery directory; undefined for a gateway without one. */
  constructor(hooks: ReadonlyMap<string, VmHooks>, directory: string | undefined) {
    this.#hooks = hooksOf(hooks);
    this.#directory = directory;
  }

  /** As it was found at the call before: a file system that doesn't answer must not hold a heartbeat up. */
  sample(): GatewayMeans {
    void this.refresh();
    return { hooks: this.#hooks, freeBytes: this.#freeBytes };
  }

  /** Asks the file system, unless it still owes an answer. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#directory === undefined || this.#asking) return;
    this.#asking = true;
    try {
      const { bavail, bsize } = await statfs(this.#directory);
      this.#freeBytes = bavail * bsize;
    } catch {
      // Gone or not readable: the attach that meets it says why; here it is only not known.
      this.#freeBytes = null;
    }
    this.#asking = false;
  }
}

function hooksOf(hooks: ReadonlyMap<string, VmHooks>): GatewayMeans["hooks"] {
  if (hooks.size > protectionLimits.hookVmsMax) return null;
  const having = (action: "boot" | "shutdown" | "kill" | "status" | "remove"): string[] =>
    [...hooks].flatMap(([vm, each]) => (each[action] === undefined ? [] : [vm]));
  return {
    ...{ boot: having("boot"), shutdown: having("shutdown"), kill: having("kill"), status: having("status") },
    remove: having("remove"),
  };
}
