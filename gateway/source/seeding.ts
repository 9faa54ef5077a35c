import type { OpenSessionReply } from "#core/api/gateway-api.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { Fenced, InvalidInput, isRetryable, Transient } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { LeftOut, NamedVolume } from "#core/protection/command.ts";
import type { SyncProgress } from "#core/sync/progress.ts";
import type { CaptureSettings } from "../config.ts";
import type { CommandContext } from "../control/handlers.ts";
import type { SiteAddress, SiteClient } from "../control/site-client.ts";
import { busyHeartbeatMs, openRetryMsMin } from "../limits.ts";
import { SourceState } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import { SyncRunner } from "../sync/sync-runner.ts";
import type { TargetHashes } from "../sync/volume-sync.ts";
import { SessionLog } from "../tap/session-log.ts";
import { type SeedDisk, SeedSource } from "./seed-source.ts";
import { SessionOpener } from "./session-opener.ts";
import type { SourceDisks } from "./source-disks.ts";
import type { SourceHost } from "./source-host.ts";
import { SourceSession } from "./source-session.ts";
import { targetHashes } from "./target-hashes.ts";

/** Whose seeds they are. */
export interface SeededVpg {
  readonly vpgId: Id;
  readonly vpgName: string;
  /** Their session's. */
  readonly term: number;
}

export interface SeedingOptions {
  readonly disks: readonly SeedDisk[];
  readonly capture: Pick<CaptureSettings, "bufferBytes" | "syncBytesPerSecond">;
  /** The gateway's own: whose journal gets the seeds. */
  readonly address: SiteAddress;
  readonly site: SiteClient;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly host: SourceHost;
}

/** Those of a gateway's disks that are volumes of this name, size and sectors; and of each other volume why none is. */
export function seedDisksOf(
  disks: Pick<SourceDisks, "diskOf">,
  volumes: readonly NamedVolume[],
): { readonly disks: readonly SeedDisk[]; readonly leftOut: readonly LeftOut[] } {
  const fit: SeedDisk[] = [];
  const leftOut: LeftOut[] = [];
  for (const volume of volumes) {
    try {
      fit.push({ volume, source: disks.diskOf(volume) });
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error;
      leftOut.push({ volume: volume.volume, why: error.message });
    }
  }
  return { disks: fit, leftOut };
}

/**
 * Brings a VPG's old disks (R16), or copies of its disks (a preseed), into this gateway's own site's journal by the sync that every
 * other difference goes by: each chunk is read, hashed and compared with what the journal holds, and that again is what the source's
 * sync is compared with. So nothing is taken to be equal, and what is equal doesn't cross between the sites. Killed, it begins again
 * and ships only what is missing.
 */
export class Seeding {
  readonly #options: SeedingOptions;
  readonly #vpg: SeededVpg;

  constructor(options: SeedingOptions, vpg: SeededVpg) {
    this.#options = options;
    this.#vpg = vpg;
  }

  /**
   * Resolves when all of it is at the site. Throws what the site refuses with, `Fenced` when another term has begun, `CommandFailed`
   * naming a disk that can't be read, and the signal's reason.
   */
  async run({ signal, progress }: CommandContext): Promise<Record<string, unknown>> {
    const { log, state, clock, disks } = this.#options;
    const { vpgId, vpgName } = this.#vpg;
    if (disks.length === 0) return figuresOf(null, []);
    const memory = await SourceState.load(state, vpgName, "seed");
    if (memory.facts.vpgId !== vpgId) await memory.forget();
    for (;;) {
      const opener = new SessionOpener({
        ...this.#options,
        state: memory,
        disks: this.#offer(),
        vpgId,
        purpose: "seed",
      });
      const outcome = await opener.attempt(false, signal);
      if (outcome.kind === "refused") throw outcome.error;
      if (outcome.kind === "opened") {
        const seeded = await this.#seed(outcome.reply, memory, { signal, progress });
        if (seeded !== undefined) return seeded;
      } else {
        log.warn("seeds.no-session", { error: outcome.error });
      }
      await clock.sleep(openRetryMsMin, signal);
    }
  }

  /** The disks as the site is asked about them. They vouch for nothing, so nobody asks whether they were touched. */
  #offer(): ConstructorParameters<typeof SessionOpener>[0]["disks"] {
    const offered = this.#options.disks.map(({ volume: { vmName, name, sizeBytes, sectorBytes } }) => ({
      vmName,
      name,
      sizeBytes,
      sectorBytes,
    }));
    return { vpgName: this.#vpg.vpgName, offered, identify: () => Promise.resolve([]) };
  }

  /** One session; undefined when it was lost before everything was there. */
  async #seed(
    reply: OpenSessionReply,
    state: SourceState,
    { signal, progress }: Pick<CommandContext, "signal" | "progress">,
  ): Promise<Record<string, number> | undefined> {
    const { disks, address, clock, log: events, host, site, capture } = this.#options;
    const { vpgId, term } = this.#vpg;
    if (reply.term !== term) throw new Fenced(`the seeds are of term ${term}, the session of term ${reply.term}`);
    const journalVolumes = disks.map(({ volume }) => volume.volume);
    const sizes = disks.map(({ volume }) => volume.sizeBytes);
    const log = new SessionLog({ sizes, bufferBytes: capture.bufferBytes, clock });
    const session = new SourceSession({
      ...{ address, vpgId, reply, journalVolumes, log, state, clock, events, host },
      purpose: "seed",
      onInterval: () => undefined,
      // It goes to the gateway's own site, not over the link that a throttle is for.
      rate: () => undefined,
    });
    const failed = Promise.withResolvers<never>();
    const target = targetHashes(site, () => vpgId);
    const hashes: TargetHashes = (ask, stop) =>
      target(ask, stop).catch((error: unknown) => {
        if (!isRetryable(error)) failed.reject(error);
        throw error;
      });
    const sources = disks.map((disk) => new SeedSource(disk, failed.reject, events));
    const sync = new SyncRunner({
      log,
      sources,
      hashes,
      clock,
      events,
      bytesPerSecond: capture.syncBytesPerSecond,
      openHasher: host.openHasher,
    });
    const over = new AbortController();
    try {
      sync.start();
      void tellProgress(sync, clock, progress, AbortSignal.any([signal, over.signal]));
      const lost = session.ended.then(() => "lost" as const);
      const wanted = (): number => log.lastPosition?.sequence ?? 0;
      const shipped = async (): Promise<"shipped"> => {
        const stop = AbortSignal.any([signal, over.signal]);
        await log.changes.until(() => !log.syncing && sync.last !== null, stop);
        if (!log.close()) throw new Transient("the seeds could not be closed");
        const acknowledged = (): boolean => log.backlog?.acknowledgedSequence === wanted();
        await log.changes.until(acknowledged, stop);
        return "shipped";
      };
      const end = await Promise.race([shipped(), lost, failed.promise]);
      if (end === "shipped") return figuresOf(sync.last, sources);
      signal.throwIfAborted();
      const ended = await session.ended;
      if (ended?.kind === "fenced") throw ended.error;
      events.warn("seeds.session-lost", { session: reply.session, error: ended?.error });
      return undefined;
    } finally {
      over.abort(new Error("the session's seeds are over"));
      log.detach();
      await sync.stop();
      await session.save();
      await session.stop();
    }
  }
}

async function tellProgress(
  sync: SyncRunner,
  clock: Clock,
  tell: CommandContext["progress"],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { progress } = sync;
    if (progress !== null) tell(progress.comparedChunks, progress.totalChunks, "chunks");
    await clock.sleep(busyHeartbeatMs, signal).catch(() => undefined);
  }
}

function figuresOf(sync: SyncProgress | null, sources: readonly SeedSource[]): Record<string, number> {
  return {
    hashedBytes: (sync?.comparedChunks ?? 0) * chunkBytes,
    differingBytes: (sync?.differingChunks ?? 0) * chunkBytes,
    shippedBytes: sync?.shippedBytes ?? 0,
    unreadableBytes: sources.reduce((sum, { unreadableBytes }) => sum + unreadableBytes, 0),
  };
}
