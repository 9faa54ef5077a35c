import { idSchema } from "#core/ids.ts";
import type { Report } from "#core/recovery/report.ts";
import { noon } from "./failover-site.ts";

const step = (name: string, startMs: number, ms: number, result: string): Report["steps"][number] => ({
  ...{ step: name, state: "done", startedAt: noon + startMs, endedAt: noon + startMs + ms },
  ...{ durationMs: ms, result, error: null },
});

const vms: Report["vms"] = [
  {
    name: "db",
    bootGroup: 1,
    volumes: [
      { name: "data", number: 1, sizeBytes: 2 ** 26 },
      { name: "log", number: 2, sizeBytes: 2 ** 24 },
    ],
  },
  { name: "web", bootGroup: 2, volumes: [{ name: "root", number: 3, sizeBytes: 2 ** 24 }] },
];

const common = {
  formatVersion: 1,
  sourceLeftOff: false,
  operationId: idSchema.parse("01k3s1te0000000000000000zz"),
  vpgId: idSchema.parse("01k3s1te000000000000000001"),
  ...{ vpgName: "shop", protectedSite: "paris", recoverySite: "berlin", term: 2, vms, version: "0.1.0" },
} as const;

/** Of a failover that an incident began, a person approved, and whose promotion failed after the commit. */
export const liveReport: Report = {
  ...common,
  ...{ attempt: 1, kind: "failover-live", phase: "Failed" },
  initiatedBy: "trigger:01k3s1te000000000000000002",
  incident: {
    incidentId: idSchema.parse("01k3s1te000000000000000002"),
    reason: "the source gateway paris-gw was silent for 45 s",
    evidence: ["3 looks in a row found no heartbeat of paris-gw", 'approved by approver:ada: the "west" power is out'],
    approval: { by: "approver:ada", at: noon - 20_000, notes: 'the "west" power is out' },
  },
  live: {
    checkpoint: { kind: "latest" },
    shutdown: { policy: "force", graceMs: 300_000 },
    commitPolicy: { action: "commit", afterMs: 600_000 },
  },
  ...{ test: null, move: null },
  ...{ startedAt: noon, endedAt: noon + 700_000, checkpointId: "7-4021", checkpointTime: noon - 4200, rtoMs: 3900 },
  ...{ checkpointTags: [], retargets: [] },
  decision: { decision: "commit", by: "system:policy", at: noon + 603_900, success: null, notes: "" },
  lostTail: { certainty: "at-least", ms: 3100, writes: 472, bytes: 1_572_864 },
  ...{ syncFigures: null, verdicts: [] },
  lostTailText: "How much acknowledged work was not recovered is unknown, at least 3.1 s.",
  ...{ sync: null, reverse: null, reverseFigures: null },
  error: {
    name: "DiskFull",
    message: "no room for db/data → shop runs here but is not complete: farshore operation retry ID goes on",
  },
  steps: [
    step("shutdown-source", 0, 400, "The source gateway gave no answer; went on without."),
    step("resolve-checkpoint", 400, 20, "Checkpoint 7-4021, the latest."),
    step("attach-volumes", 420, 480, "3 volumes are served."),
    step("boot-group-1", 900, 3000, "db runs."),
    {
      ...step("promote-volumes", 604_000, 9000, ""),
      state: "failed",
      error: { name: "DiskFull", message: "no room for db/data" },
    },
    { ...step("detach-volumes", 690_000, 0, ""), state: "running", endedAt: null, durationMs: null },
  ],
  exports: [{ vm: "db", volume: "data", number: 1, uri: "nbd+unix:///db-data?socket=/run/fs/1.sock" }],
};

/** Of a test that a person started, stopped and called a success. */
export const testReport: Report = {
  ...common,
  ...{ attempt: 2, kind: "failover-test", phase: "Completed", initiatedBy: "operator:ann", incident: null },
  ...{ live: null, move: null, test: { checkpoint: { kind: "tag", tag: "before-upgrade" } } },
  ...{ startedAt: noon, endedAt: noon + 3_600_000, checkpointId: "7-12", checkpointTime: noon - 60_000, rtoMs: 5300 },
  retargets: [],
  checkpointTags: ["before-upgrade", "Tested at 2030-01-01T12:00:00.000Z"],
  decision: {
    ...{ decision: "stop", by: "operator:ann", at: noon + 3_599_000, success: true },
    notes: "logins work\n4957 rows, as many as < 5 minutes before",
  },
  ...{ lostTail: null, lostTailText: "", sync: null, syncFigures: null, reverse: null, reverseFigures: null },
  ...{ verdicts: [], error: null },
  steps: [
    step("resolve-checkpoint", 0, 12, "Checkpoint 7-12."),
    step("attach-volumes", 12, 800, "3 volumes are served."),
  ],
  exports: [],
};

/** Of an operation that proved what it had to by a sync. */
export const provedReport: Report = {
  ...liveReport,
  ...{ phase: "Completed", incident: null, initiatedBy: "operator:ann", error: null },
  retargets: [
    {
      ...{ number: 2, requestId: idSchema.parse("01k3s1te000000000000000003"), by: "operator:ann", at: noon + 60_000 },
      ...{ checkpointId: "7-3990", checkpointTime: noon - 65_000, switchedAt: noon + 62_000, rtoMs: null },
      ...{ from: { checkpointId: "7-4021", checkpointTime: noon - 4200 } },
      error: { name: "CommandFailed", message: "the boot hook of db ended with status 1" },
    },
    {
      ...{ number: 3, requestId: idSchema.parse("01k3s1te000000000000000004"), by: "operator:bob", at: noon + 90_000 },
      ...{ checkpointId: "7-4021", checkpointTime: noon - 4200, switchedAt: noon + 92_000, rtoMs: 5100, error: null },
      ...{ from: { checkpointId: "7-3990", checkpointTime: noon - 65_000 } },
    },
  ],
  lostTail: { certainty: "exact", ms: 0, writes: 0, bytes: 0 },
  lostTailText: "No acknowledged write was lost.",
  syncFigures: {
    hashedBytes: 100_663_296,
    differingBytes: 1_572_864,
    shippedBytes: 1_572_864,
    pages: 1,
    pagesAlone: 0,
    ends: [],
  },
  verdicts: [
    { name: "db/data", ok: true, text: "Every chunk was hashed again and equals the image." },
    { name: "web/root", ok: false, text: "Chunk 12 differs." },
  ],
};

/** Of a delta sync that a person asked for. */
export const syncReport: Report = {
  ...provedReport,
  ...{ kind: "delta-sync", live: null, sync: { force: true }, retargets: [], rtoMs: null, decision: null },
  ...{ lostTail: null, lostTailText: "", checkpointId: null, checkpointTime: null, checkpointTags: null },
  ...{ verdicts: [], exports: [] },
  steps: [
    step("hash-volumes", 0, 900, "Hashes of 1 page."),
    step("verify-sync", 2000, 5000, "Checkpoint 7-4090 is listed."),
  ],
};

/** Of a reverse protection whose old source's gateway was lost. */
export const reverseReport: Report = {
  ...syncReport,
  ...{ kind: "reverse-protection", sync: null, syncFigures: null, reverse: { gatewayLost: true, force: false } },
  reverseFigures: {
    seed: { hashedBytes: 100_663_296, differingBytes: 1_572_864, shippedBytes: 98_304 },
    sync: { hashedBytes: 100_663_296, differingBytes: 524_288, shippedBytes: 36_864 },
  },
  decision: { decision: "commit", by: "system:workflow", at: noon + 3000, success: null, notes: "berlin took it" },
  steps: [step("offer", 0, 900, "Offered to berlin."), step("await-journal", 900, 9000, "Journaled at berlin.")],
};
