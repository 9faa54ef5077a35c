import type { Id } from "./ids.ts";
import type { SyncPagePlace } from "./journal/keys.ts";
import type { Clock, Log, Notify, Objects, Peers, Random, Table, Workflows } from "./ports.ts";
import type { WindowHasher } from "./sync/hash-window.ts";

/** Everything the rules of one site work with. A site needs nothing of any other site (invariant 3). */
export interface Site {
  readonly siteId: Id;
  readonly siteName: string;
  readonly objects: Objects;
  readonly table: Table;
  readonly workflows: Workflows;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly notify: Notify;
  /** Pages of a delta-sync that are compared at once (`pagesAtOnceDefault`); a site in one process has less to do it with. */
  readonly pagesAtOnce?: number;
  /** Told of each page of a delta-sync whose hashes have come, where it pays to compare it before the state machine asks. */
  readonly pageArrived?: (operationId: Id, place: SyncPagePlace) => void;
  /** Where the images that syncs are compared with are hashed: in the thread that reads them, unless a host has more threads. */
  readonly hasher?: WindowHasher;
  /** What its gateways pause for between heartbeats, where these cost less than a request's price (`heartbeatIntervalMs`, `heartbeatBusyIntervalMs`). */
  readonly heartbeats?: { readonly idleMs: number; readonly busyMs: number };
  /** Asked only by reverse protection. */
  readonly peers: Peers;
}

/** Who asks, as the edge authenticated it; `initiatedBy` in every record is `<role>:<name>`. */
export interface Caller {
  readonly name: string;
  /** "trigger" is no token's: an incident that starts its failover, `name` being its id. */
  readonly role: "viewer" | "operator" | "approver" | "gateway" | "peer" | "trigger";
  /** Of a gateway's token only. */
  readonly gatewayId: Id | null;
}

export const callerText = (caller: Caller): string => `${caller.role}:${caller.name}`;
