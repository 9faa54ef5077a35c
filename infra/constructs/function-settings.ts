import type { BucketArea } from "./bucket-areas.ts";

/**
 * What a function may do with state machines: `answer` is a task token's success, failure or heartbeat; `start-sync` starts the one
 * machine that a gateway's session may bring about; `stop-move` ends an execution of a move that the site has forgotten.
 */
export type MachineUse = "start" | "start-sync" | "stop-move" | "describe" | "answer";

export interface FunctionSettings {
  readonly memoryMiB: number;
  readonly timeoutSeconds: number;
  /** Executions set aside for this function, and the most it ever has. */
  readonly reservedConcurrency?: number;
  /** Areas of the bucket. */
  readonly reads: readonly BucketArea[];
  readonly creates: readonly BucketArea[];
  /** Areas in which it may delete what it created. */
  readonly deletes?: readonly BucketArea[];
  /** Areas in which it may delete everything for good, old versions too. */
  readonly purges?: readonly BucketArea[];
  readonly machines: readonly MachineUse[];
  /** Puts notices for people onto the site's bus. */
  readonly notifies?: true;
  /** Calls the URLs of the site's peers, which its configuration names. */
  readonly callsPeers?: true;
  /** Gets a URL that these callers' principals may invoke. */
  readonly url?: "gateways" | "people";
  /** Why the figures are what they are. */
  readonly because: string;
}

/** A task reads a few items and decides: the SDK's start is what it waits for. */
const task = {
  // Below 512 MiB (0.3 vCPU) an environment's start takes seconds, and a failover starts each of them once.
  memoryMiB: 512,
  // The ASL waits 120 s for a task.
  timeoutSeconds: 110,
  reads: [],
  creates: [],
  machines: [],
} as const;

/** What checkpoints are derived from, and what retention left of them. */
const journal = ["journal", "sessions", "manifests", "digests"] as const;

/** What VMs and volumes a checkpoint of before an edit has. */
const captured = ["sessions", "vpgs"] as const;

/** What views and hashes of old batches are found by. */
const layers = ["layers", "packs"] as const;

/**
 * Every function by its folder. Permissions are the least that a function's work needs: the table of this site is everybody's,
 * the bucket by area, state machines by use. Concurrency is set aside (425 of an account's 1000 by default, so that two sites
 * fit one region) for what a flood of batches must not starve; the tasks of failovers share what is left.
 */
export const functionSettings: Readonly<Record<string, FunctionSettings>> = {
  "ingest-batch": {
    memoryMiB: 1024,
    timeoutSeconds: 30,
    reservedConcurrency: 300,
    reads: [...journal, "terms"],
    creates: ["journal"],
    machines: [],
    url: "gateways",
    because:
      "a batch of 4 MiB is held as base64, as bytes and as decoded frames, and hashed on 0.58 vCPU; a gateway gives up on an upload after 30 s; 300 at once make more than the 3,500 PUTs a second that one prefix takes",
  },
  "gateway-api": {
    memoryMiB: 1024,
    timeoutSeconds: 170,
    reservedConcurrency: 100,
    reads: [...journal, ...layers, "terms", "vpgs", "deleted-vpgs", "sync"],
    creates: ["journal", "sessions", "vpgs", "sync"],
    machines: ["start-sync", "answer"],
    url: "gateways",
    because:
      "the hashes of a 1 GiB page read and hash as many journal bytes, and a gateway waits 180 s for them; the heartbeats of 500 gateways keep about five busy",
  },
  "site-api": {
    memoryMiB: 1024,
    timeoutSeconds: 60,
    reservedConcurrency: 20,
    reads: [...journal, ...layers, "terms", "offers", "vpgs", "deleted-vpgs", "decisions", "reports", "peers"],
    creates: ["journal", "terms", "offers", "vpgs", "deleted-vpgs", "decisions", "operations", "tokens", "peers"],
    machines: ["start", "stop-move", "describe", "answer"],
    url: "people",
    because: "people wait for it, a few at a time; a list of checkpoints folds many rows",
  },
  reconciler: {
    memoryMiB: 512,
    timeoutSeconds: 300,
    reservedConcurrency: 1,
    reads: [...journal, "terms", "offers", "vpgs", "deleted-vpgs", "decisions", "reports"],
    creates: ["journal", "terms", "vpgs", "annotations", "decisions", "reports"],
    machines: ["start", "describe", "answer"],
    because: "one at a time: the next minute's run waits for the one before; it may walk over every VPG of the site",
  },
  "site-monitor": {
    memoryMiB: 512,
    timeoutSeconds: 300,
    reservedConcurrency: 1,
    reads: [...journal, "terms", "vpgs", "deleted-vpgs"],
    creates: ["vpgs"],
    machines: ["start", "describe"],
    notifies: true,
    because: "one at a time, as the reconciler; it looks at every VPG of the site and starts what triggers made ready",
  },
  "compact-journal": {
    memoryMiB: 1024,
    timeoutSeconds: 600,
    reservedConcurrency: 1,
    reads: [...journal, ...layers, "terms"],
    creates: ["manifests", "digests", ...layers],
    deletes: ["layers"],
    machines: [],
    because:
      "one at a time: a second one's work would be thrown away; it begins nothing after four minutes, and the longest merge takes less than the rest; sorting a layer's index and putting its part together take some 150 MiB",
  },
  "collect-journal": {
    memoryMiB: 1024,
    timeoutSeconds: 600,
    reservedConcurrency: 1,
    reads: [...journal, ...layers, "terms", "deleted-vpgs"],
    creates: ["manifests", "digests"],
    purges: ["journal", "manifests", "digests", ...layers],
    machines: [],
    because: "one at a time; the only one that may delete from the journal, a hundred thousand objects a run",
  },
  "scrub-journal": {
    memoryMiB: 1024,
    timeoutSeconds: 600,
    reservedConcurrency: 1,
    reads: [...journal, ...layers],
    creates: [],
    machines: [],
    because:
      "one at a time: a second one's reading would count for nothing; it begins nothing after four minutes; a layer's part of up to 64 MiB is held whole, as four batches are",
  },
  "receive-event": { ...task, timeoutSeconds: 60, because: "notes an event on the VPGs that it concerns" },
  "ask-peer": {
    ...task,
    reads: ["terms", "offers", "decisions"],
    creates: ["terms", "offers", "decisions"],
    callsPeers: true,
    because:
      "offers, starts and takes back a term, and asks the peer; a peer that does not answer is given up after 30 s",
  },
  "await-decision": { ...task, machines: ["answer"], because: "keeps a token" },
  "begin-operation": {
    ...task,
    reads: [...journal, "terms"],
    creates: ["operations"],
    because: "notes that a live operation begins, and pins a checkpoint",
  },
  "check-command": { ...task, machines: ["answer"], because: "reads a command's record" },
  "compare-page": {
    memoryMiB: 1024,
    timeoutSeconds: 230,
    reads: [...journal, ...layers, "sync"],
    creates: ["sync"],
    machines: [],
    because:
      "reads and hashes as many journal bytes as the hashes of a page, a hundred pages at once; the ASL waits 240 s, and an EXPRESS execution lasts 300 s",
  },
  "end-operation": {
    ...task,
    reads: [...journal, "terms", "vpgs", "deleted-vpgs", "decisions", "reports"],
    creates: ["journal", "terms", "vpgs", "annotations", "decisions", "reports"],
    machines: ["start"],
    because:
      "writes the report, carries a decided commit as far as the seals when the tasks before could not, and starts the reverse protection that was asked for",
  },
  "issue-command": {
    ...task,
    reads: [...captured, "terms"],
    machines: ["answer"],
    because: "puts a command into a gateway's queue; the terms say which operation's disks a VPG runs on",
  },
  "mint-term": { ...task, reads: ["terms", ...captured], creates: ["terms", "vpgs"], because: "claims the next term" },
  "next-boot-group": { ...task, reads: captured, because: "reads the operation's record" },
  "next-pages": { ...task, reads: ["sync"], because: "lists the hashes and want-lists of a delta-sync" },
  "prove-final": {
    ...task,
    reads: [...journal, "terms", "vpgs", "deleted-vpgs"],
    because: "reads the ends of the sessions and counts what stands behind their checkpoint",
  },
  "read-decision": {
    ...task,
    reads: ["terms", "decisions"],
    creates: ["decisions"],
    because: "decides by the policy when the time is over, unless the bucket knows better than a restored table",
  },
  "record-failure": {
    ...task,
    reads: ["terms", "decisions"],
    creates: ["decisions"],
    because: "notes an error and decides that all is undone, unless the bucket knows better than a restored table",
  },
  "resolve-checkpoint": { ...task, reads: [...journal, "terms"], because: "looks the checkpoint up and pins it" },
  "switch-checkpoint": { ...task, because: "records a retarget's checkpoint and drops the pin of the one before" },
  "seal-sessions": {
    ...task,
    reads: [...journal, "vpgs"],
    creates: ["journal"],
    because: "seals the old term's sessions and measures what was left behind",
  },
  "verify-sync": { ...task, reads: journal, because: "looks for the first checkpoint behind a sync" },
};

/** Functions that a schedule invokes, a line each; each is told how often. */
export const schedules: Readonly<Record<string, { readonly everyMinutes: number; readonly because: string }>> = {
  reconciler: { everyMinutes: 1, because: "EventBridge's shortest rate: an orphaned operation waits no longer" },
  "compact-journal": { everyMinutes: 1, because: "at a batch in 5 s a layer is due every 80 s" },
  "collect-journal": {
    everyMinutes: 1,
    because: "looks whether a quarter of an hour is over since a VPG's last collection",
  },
  "scrub-journal": {
    everyMinutes: 1,
    because: "a round that a person asks for begins soon; any other is looked at less often",
  },
  "site-monitor": { everyMinutes: 1, because: "EventBridge's shortest rate: a lost source is seen no later" },
};
