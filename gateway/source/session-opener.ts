import { fileTrouble } from "#adapters/embedded/file-errors.ts";
import type { OpenSession, OpenSessionReply } from "#core/api/gateway-api.ts";
import { FarshoreError, Transient } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { SiteClient } from "../control/site-client.ts";
import { sameDisks } from "../state/disk-identity.ts";
import type { SourceState } from "../state/source-state.ts";
import type { SourceDisks } from "./source-disks.ts";

export type OpenOutcome =
  | {
      readonly kind: "opened";
      readonly vpgId: Id;
      readonly reply: OpenSessionReply;
      /** The site has lost what it had acknowledged. */
      readonly regressed: boolean;
    }
  /** The site said no, by name: a person, or an operation's end, has to change that. */
  | { readonly kind: "refused"; readonly error: FarshoreError }
  /** Nobody was asked: no answer. */
  | { readonly kind: "unreachable"; readonly error: FarshoreError };

interface Answered {
  readonly reply: OpenSessionReply;
  readonly regressed: boolean;
}

export interface SessionOpenerOptions {
  readonly site: SiteClient;
  readonly state: SourceState;
  readonly disks: Pick<SourceDisks, "vpgName" | "offered" | "identify">;
  /** Where it is known whose disks they are; otherwise the site says it by the VPG's name. */
  readonly vpgId?: Id | undefined;
  readonly purpose?: OpenSession["purpose"];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Opens sessions (R4): each is the run grant of R17 too, asked for before anything is served read-write. */
export class SessionOpener {
  readonly #options: SessionOpenerOptions;

  constructor(options: SessionOpenerOptions) {
    this.#options = options;
  }

  /**
   * Asks once; a repeated ask is the same one until it was answered. `untouched`: nobody could write the disks since this process
   * took them. Once it is opened the state says so durably, with no clean mark. Rejects only when the signal is aborted.
   */
  async attempt(untouched: boolean, signal: AbortSignal): Promise<OpenOutcome> {
    try {
      const vpgId = await this.#vpgId(signal);
      const { reply, regressed } = await this.#ask(vpgId, untouched, signal);
      await this.#options.state.save({
        vpgId,
        term: reply.term,
        session: reply.session,
        acknowledgedBatch: -1,
        pendingNonce: null,
        clean: false,
        fenced: null,
      });
      return { kind: "opened", vpgId, reply, regressed };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Transient) return { kind: "unreachable", error };
      // The state directory's trouble (a full disk) is told as such, and tried again; nothing is served on its account.
      return { kind: "refused", error: fileTrouble(error, `State directory of ${this.#options.disks.vpgName}`) };
    }
  }

  /** Whose disks they are, for while no session is asked for. Answers why it could not be learnt. Rejects only when the signal is aborted. */
  async learnVpg(signal: AbortSignal): Promise<FarshoreError | null> {
    const { state, disks } = this.#options;
    try {
      await state.save({ vpgId: await this.#vpgId(signal) });
      return null;
    } catch (error) {
      signal.throwIfAborted();
      return fileTrouble(error, `State directory of ${disks.vpgName}`);
    }
  }

  async #vpgId(signal: AbortSignal): Promise<Id> {
    const { disks, site, state, log } = this.#options;
    const { vpgName } = disks;
    const vpgId = this.#options.vpgId ?? (await site.definition(vpgName, signal)).vpgId;
    const known = state.facts.vpgId;
    if (known !== null && known !== vpgId) {
      // The name was given to a new VPG: nothing this directory knows is about that one.
      log.warn("source.vpg-replaced", { vpg: vpgName, before: known, now: vpgId });
      await state.forget();
    }
    return vpgId;
  }

  async #ask(vpgId: Id, untouched: boolean, signal: AbortSignal): Promise<Answered> {
    const { state, disks, clock, random, purpose } = this.#options;
    const nonce = state.facts.pendingNonce ?? newId(clock, random);
    await state.save({ vpgId, pendingNonce: nonce });
    const { facts } = state;
    const ask = {
      vpgId,
      nonce,
      lastSession: facts.session,
      acknowledgedBatch: facts.acknowledgedBatch,
      cleanlyClosed: untouched && facts.clean && sameDisks(facts.disks, await disks.identify()),
      acceptRegression: false,
      volumes: disks.offered,
      ...(purpose === undefined ? {} : { purpose }),
    };
    const { reply, regressed } = await this.#opened(ask, signal);
    // The answer to an earlier ask whose reply was lost: what it says of the disks was true then, and may not be now.
    const late = reply.continues && !ask.cleanlyClosed;
    return { reply: late ? { ...reply, continues: false, sync: "delta" } : reply, regressed };
  }

  async #opened(ask: OpenSession, signal: AbortSignal): Promise<Answered> {
    const { site, log } = this.#options;
    try {
      return { reply: await site.openSession(ask, signal), regressed: false };
    } catch (error) {
      if (!(error instanceof FarshoreError) || error.name !== "RecoverySiteRegressed") throw error;
      log.warn("source.site-regressed", { error });
      return { reply: await site.openSession({ ...ask, acceptRegression: true }, signal), regressed: true };
    }
  }
}
