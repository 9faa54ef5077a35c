import type { StreamState } from "#core/api/gateway-api.ts";
import type { FarshoreError } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import type { Clock, Log, Random } from "#core/ports.ts";
import type { WrapPeerChannel } from "../barrier/source-barrier.ts";
import type { BarrierConfig, CaptureSettings, SourceVolumeConfig, VmHooks } from "../config.ts";
import type { SiteAddress, SiteClient } from "../control/site-client.ts";
import type { StateStore } from "../state/state-directory.ts";
import type { ExportMode, SourceDisks } from "./source-disks.ts";
import type { SourceHost } from "./source-host.ts";

export interface SourceOptions {
  /** The half's own to close once it is open. Those that guests use already go on being served whatever the site says, until it has opened a session. */
  readonly disks: SourceDisks;
  readonly capture: CaptureSettings;
  /** Whose disks they are, where that is known; otherwise the site says it by the VPG's name. */
  readonly vpgId?: Id | undefined;
  /** In which promoted disks were captured; absent for those of the configuration. */
  readonly capturedTerm?: number | undefined;
  /** The volumes that the configuration names now, when the VPG was edited; absent where none does. Throws `InvalidInput`. */
  readonly configured?: (() => readonly SourceVolumeConfig[]) | undefined;
  /** Bytes a second that this half may ship now; undefined for no limit. */
  readonly rate: () => number | undefined;
  /** Undefined when the VPG has one source gateway. */
  readonly barrier: BarrierConfig | undefined;
  readonly hooks: ReadonlyMap<string, VmHooks>;
  /** Working directory of hooks. */
  readonly directory: string;
  readonly address: SiteAddress;
  readonly site: SiteClient;
  readonly state: StateStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The loop that opens sessions came to an end that nobody foresaw: the process must end, and its next start syncs. */
  readonly onCrash: (error: Error) => void;
  readonly host: SourceHost;
  readonly wrapChannel?: WrapPeerChannel | undefined;
}

export interface SourceStatus {
  readonly vpg: string;
  readonly exports: ExportMode;
  /** Null before the site was asked the first time, or while no session is open. */
  readonly stream: StreamState | null;
  /** Why there is no session, or why it ended. */
  readonly problem: FarshoreError | null;
}
