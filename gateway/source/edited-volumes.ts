import { InvalidInput, isRetryable } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Log } from "#core/ports.ts";
import { captureRevisionOf } from "#core/protection/definition.ts";
import type { SourceVolumeConfig } from "../config.ts";
import type { SiteClient } from "../control/site-client.ts";
import { configurationProblemCharactersMax } from "../limits.ts";
import { sameDisks } from "../state/disk-identity.ts";
import type { SourceFacts } from "../state/source-state.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { SessionLog } from "../tap/session-log.ts";
import type { RecalledDisk, VolumeTracks } from "../tap/volume-tracks.ts";
import { refuseClosed } from "./closed-disks.ts";
import type { DiskChange, SourceDisk, SourceDisks } from "./source-disks.ts";
import type { SourceHost } from "./source-host.ts";
import type { SourceSession } from "./source-session.ts";
import { wantedDisks } from "./wanted-disks.ts";

interface EditedParts {
  readonly state: StateStore;
  readonly host: Pick<SourceHost, "identifyDisk">;
  readonly site: Pick<SiteClient, "definition">;
  readonly log: Log;
  readonly disks: SourceDisks;
  readonly sessionLog: SessionLog;
  readonly vpgId: () => Id | null;
  readonly session: () => SourceSession | undefined;
  /** Ends the open session, so that another one is asked for. */
  readonly endSession: () => void;
  /** The volumes that the configuration names now; absent where none does. Throws `InvalidInput`. */
  readonly configured: (() => readonly SourceVolumeConfig[]) | undefined;
}

/**
 * Takes up the volumes of an edited VPG while the gateway runs: once the configuration file agrees with the definition, the session is
 * left with all of it at the site, the disks change, and the next session goes on with what was written in between as its suspects.
 * Until then the old session goes on; after a restart the disks are served without one.
 */
export class EditedVolumes {
  readonly #parts: EditedParts;
  readonly #stop = new AbortController();
  #problem: string | null = null;
  #takingUp: Promise<void> | undefined;
  /** Made before the next session is asked for. */
  #change: DiskChange | undefined;

  constructor(parts: EditedParts) {
    this.#parts = parts;
  }

  /** What is in the way of the edited definition, for people; null when nothing is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** By what the site wants sessions to work, with every heartbeat; `refused`: it took no session because it knows other volumes. */
  told(configRevision: number, refused: boolean): void {
    const session = this.#parts.session();
    const wanted = session === undefined ? refused : session.configRevision !== configRevision;
    if (!wanted) {
      this.#problem = null;
      return;
    }
    this.#takingUp ??= this.#takeUp(configRevision).finally(() => {
      this.#takingUp = undefined;
    });
  }

  /** Between two sessions the volumes become what the definition says. */
  async apply(): Promise<void> {
    const change = this.#change;
    if (change === undefined) return;
    this.#change = undefined;
    const { disks, sessionLog, log } = this.#parts;
    await disks.change(change, sessionLog.volumes);
    const placesOf = (each: readonly SourceDisk[]) => each.map(({ vmName, name }) => `${vmName}/${name}`);
    const opened = placesOf(change.opened.map(({ disk }) => disk));
    log.info("source.volumes-changed", { opened, closed: placesOf(change.dropped) });
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("the gateway stops"));
    await this.#takingUp;
  }

  async #takeUp(configRevision: number): Promise<void> {
    const { disks, log, endSession } = this.#parts;
    if (this.#change !== undefined) return;
    try {
      const change = await this.#prepare(configRevision);
      if (change === undefined) return;
      this.#problem = null;
      const drained = await this.#drained().catch(() => false);
      if (drained) this.#change = change;
      else await disks.abandon(change);
      endSession();
    } catch (error) {
      if (this.#stop.signal.aborted || isRetryable(error)) return;
      const problem = error instanceof Error ? error.message : String(error);
      if (this.#problem !== problem) log.warn("source.needs-configuration", { error });
      this.#problem = problem.slice(0, configurationProblemCharactersMax);
    }
  }

  /** Undefined when the definition is another one by now. */
  async #prepare(configRevision: number): Promise<DiskChange | undefined> {
    const { site, disks, configured, vpgId, session } = this.#parts;
    const id = vpgId();
    if (id === null) return undefined;
    const definition = await site.definition(id, this.#stop.signal);
    if (captureRevisionOf(definition) !== configRevision) return undefined;
    if (configured === undefined) {
      const why = "runs on recovered disks here, whose volumes can't be changed before farshore gateway disks adopt";
      throw new InvalidInput(`${definition.name} was edited, and ${why}`);
    }
    const own = session()?.gatewayId ?? definition.sourceGatewayId;
    const wanted = wantedDisks(definition, own, configured());
    await refuseClosed(
      this.#parts,
      wanted.map(({ path }) => path),
    );
    return disks.prepare(wanted);
  }

  /** True once the site has all of the session, with every later write among the suspects; or when there is no session. */
  async #drained(): Promise<boolean> {
    const { sessionLog, session } = this.#parts;
    const left = session();
    if (left === undefined) return true;
    sessionLog.suspend();
    const drained = (): boolean => sessionLog.backlog?.acknowledgedSequence === sessionLog.lastPosition?.sequence;
    const over = (): boolean => session() !== left || left.over;
    await sessionLog.changes.until(() => drained() || over(), this.#stop.signal);
    return !over();
  }
}

/** After a clean stop the disks are as the journal has them, but for those that came or were touched since. */
export async function recallDisks(
  { clean, end, disks: known, journalVolumes }: SourceFacts,
  disks: Pick<SourceDisks, "identify">,
  volumes: VolumeTracks,
): Promise<void> {
  if (!clean || end === null) return;
  const now = await disks.identify();
  const recalled = now.map((disk): RecalledDisk => {
    const place = known.findIndex(({ vmName, name }) => vmName === disk.vmName && name === disk.name);
    const before = known[place];
    if (before === undefined) return { standing: "new", journalVolume: 0 };
    const standing = sameDisks([before], [disk]) ? "same" : "touched";
    return { standing, journalVolume: journalVolumes[place] ?? 0 };
  });
  volumes.recall(end, recalled);
}
