import { expect } from "vitest";
import type { OperationView } from "#core/api/site-api.ts";
import { endedPhases, type Phase } from "#core/protection/operation.ts";
import { until } from "../../scripts/demo/stage.ts";
import type { Killer } from "./killer.ts";

/** From this one on a deed is left in peace. */
const triesKilled = 2;

/** A site as its operator has it. Both reject while it is down. */
export interface OperatedSite {
  /** Newest first. */
  operations(): Promise<readonly OperationView[]>;
  /** `farshore ... --json` */
  farshore(...args: string[]): Promise<unknown>;
}

/** Gives each order until it stands, whatever answers are lost, and goes on as the messages say. */
export class StubbornOperator implements OperatedSite {
  readonly #site: OperatedSite;

  constructor(site: OperatedSite) {
    this.#site = site;
  }

  operations(): Promise<readonly OperationView[]> {
    return this.#site.operations();
  }

  farshore(...args: string[]): Promise<unknown> {
    return this.#site.farshore(...args);
  }

  /** Asks until a new operation stands, and follows it until it is in one of the phases, or over. */
  async started(
    kind: OperationView["kind"],
    args: readonly string[],
    phases: readonly Phase[] = [],
  ): Promise<OperationView> {
    const earlier = await until("operations", 60_000, async () =>
      (await this.operations()).map((one) => one.operationId),
    );
    const isNew = (one: OperationView): boolean => one.kind === kind && !earlier.includes(one.operationId);
    const { operationId } = await until(`${kind} to stand`, 120_000, async () => {
      const stands = (await this.operations()).find(isNew);
      if (stands === undefined) await this.farshore(...args);
      return stands;
    });
    return this.#followed(operationId, phases);
  }

  /** Asks for a decision until one stands, and follows the operation to its end; what ended half way is tried again, as it says. */
  async decided(operationId: string, args: readonly string[]): Promise<OperationView> {
    await until(`${args.join(" ")} of ${operationId}`, 60_000, async () => {
      const operation = (await this.operations()).find((one) => one.operationId === operationId);
      if (operation === undefined || operation.decision !== null || endedPhases.includes(operation.phase)) return true;
      await this.farshore(...args, "--yes");
      return undefined;
    });
    return this.ended(operationId);
  }

  /** The operation when there is nothing left to go on with. */
  async ended(operationId: string): Promise<OperationView> {
    let operation = await this.#followed(operationId);
    while (operation.phase === "Failed" && (await this.#retried(operationId))) {
      operation = await this.#followed(operationId);
    }
    return operation;
  }

  async #followed(operationId: string, phases: readonly Phase[] = []): Promise<OperationView> {
    let seen: OperationView | undefined;
    try {
      return await until(`operation ${operationId} to be ${[...phases, "over"].join(" or ")}`, 300_000, async () => {
        seen = (await this.operations()).find((one) => one.operationId === operationId);
        return seen !== undefined && [...phases, ...endedPhases].includes(seen.phase) ? seen : undefined;
      });
    } catch (cause) {
      throw new Error(`operation ${operationId} stays as it is: ${JSON.stringify(seen, null, 2)}`, { cause });
    }
  }

  /** False when there is nothing left to go on with. */
  #retried(operationId: string): Promise<boolean> {
    return until(`another attempt of ${operationId}`, 60_000, () =>
      this.farshore("operation", "retry", operationId).then(
        () => true,
        (error: unknown) => {
          if (String(error).includes("nothing left to do")) return false;
          throw error;
        },
      ),
    );
  }
}

/** The first try, and each after one that ended in another way; the last is left in peace. */
export async function tries(
  killer: Killer,
  what: string,
  wanted: Phase,
  deed: () => Promise<OperationView>,
): Promise<OperationView> {
  for (let count = 1; ; count += 1) {
    const operation = await (count > triesKilled ? deed() : killer.during(what, deed));
    if (operation.phase === wanted) return operation;
    console.info(`${what} ended as ${operation.phase}: ${operation.error?.message ?? "no error"}`);
    expect(endedPhases, what).toContain(operation.phase);
    expect(count, `${what}, left in peace`).toBeLessThanOrEqual(triesKilled);
  }
}
