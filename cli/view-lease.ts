import { z } from "zod";
import { leasedSchema } from "#core/api/site-api.ts";
import { isRetryable } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import type { Clock, Random } from "#core/ports.ts";
import type { SiteClient } from "./site-client.ts";

export interface ViewLeaseOptions {
  readonly client: Pick<SiteClient, "post" | "delete">;
  readonly vpgId: Id;
  readonly checkpointId: string;
  readonly lostTail: Id | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** Keeps a checkpoint at its site while a view of it is read: taken at once, renewed as often as the site says, released at the end. */
export class ViewLease {
  readonly #options: ViewLeaseOptions;
  readonly #path: string;
  readonly #released = new AbortController();
  readonly #lost = new AbortController();

  private constructor(options: ViewLeaseOptions) {
    this.#options = options;
    this.#path = `/v1/vpgs/${options.vpgId}/leases/${newId(options.clock, options.random)}`;
  }

  /** Throws `NoCheckpoint` when retention has let the checkpoint go, `LimitExceeded`, and what keeps the site from answering. */
  static async take(options: ViewLeaseOptions): Promise<ViewLease> {
    const lease = new ViewLease(options);
    void lease.#renew(await lease.#ask());
    return lease;
  }

  /** Aborted when the site refuses to renew it, with what the site says: the checkpoint may be gone. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async release(): Promise<void> {
    if (this.#released.signal.aborted) return;
    this.#released.abort();
    try {
      await this.#options.client.delete(this.#path, z.object({}));
    } catch (error) {
      // It ends by itself.
      if (!isRetryable(error)) throw error;
    }
  }

  async #ask(): Promise<number> {
    const { client, checkpointId, lostTail } = this.#options;
    const body = { checkpoint: checkpointId, ...(lostTail === undefined ? {} : { lostTail }) };
    return (await client.post(this.#path, leasedSchema, body)).renewMs;
  }

  async #renew(first: number): Promise<void> {
    let renewMs = first;
    while (!this.#released.signal.aborted) {
      try {
        await this.#options.clock.sleep(renewMs, this.#released.signal);
        renewMs = await this.#ask();
      } catch (error) {
        if (this.#released.signal.aborted) return;
        // A site that is away is asked again: a lease lasts for several renewals, and reads wait for the site too.
        if (isRetryable(error)) continue;
        this.#lost.abort(error);
        return;
      }
    }
  }
}
