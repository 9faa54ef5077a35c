import { chunkBytes } from "#core/blocks/geometry.ts";
import { deltaSyncLimits } from "#core/delta-sync/limits.ts";
import { sha256 } from "#core/journal/hash.ts";
import { syncPageKey } from "#core/journal/keys.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { encodePageHashes } from "#core/sync/page-object.ts";
import type { ProtectedShop } from "../kit/failover-site.ts";
import { type Deed, operationId } from "../kit/failover-world.ts";
import type { Machines } from "../kit/recording-gateway.ts";
import type { Scenario } from "./scenario.ts";

const sync =
  (force = true) =>
  () => ({ kind: "delta-sync" as const, options: { force } });

/** What the source gateway uploads while it hashes: a page of each of two volumes, one chunk of which is unlike the journal's. */
async function uploaded({ objects, vpg, stream }: ProtectedShop): Promise<void> {
  for (const [volume, sizeBytes] of [
    [1, 2 ** 26],
    [2, 2 ** 24],
  ] as const) {
    const count = sizeBytes / chunkBytes;
    const zero = sha256(new Uint8Array(chunkBytes));
    const hashes = Buffer.concat([...Array.from({ length: count - 1 }, () => zero), sha256(new Uint8Array([volume]))]);
    const place = { session: stream.session, volume, page: 0 };
    const body = encodePageHashes({
      ...{ ...place, vpgId: vpg.vpgId, operationId, term: 1, sizeBytes, hashes },
      upTo: { session: stream.session, sequence: stream.sequence },
      chunks: Array.from({ length: count }, (_, chunk) => chunk),
    });
    await objects.put(syncPageKey(vpg.vpgId, operationId, place, "hashes"), body);
  }
}

/** The sync ends behind the newest checkpoint, and the next one comes later. */
async function endsLate(shop: ProtectedShop, machines: Machines): Promise<void> {
  machines.syncEnd = { session: shop.stream.session, sequence: shop.stream.sequence + 1 };
  late.set(shop, shop.stream.checkpoint(shop.clock.now()));
}
/** The batch with that checkpoint, the same however often it is sent. */
const late = new WeakMap<ProtectedShop, ReturnType<ProtectedShop["stream"]["checkpoint"]>>();
const checkpointComes: Deed = {
  when: ({ steps }, { shop }) =>
    shop.clock.now() > (steps["verify-sync"]?.startedAt ?? Number.POSITIVE_INFINITY) + 8000,
  act: async (site, { shop }) => {
    const batch = late.get(shop);
    if (batch !== undefined) await ingestBatch(site, shop.source, batch);
  },
};

const hash = ["HashVolumes", "CheckHashVolumes"];
const rounds = ["FirstPages", "NextPages", "MorePages"];
const compare = ["ComparePages", "NextPages", "MorePages"];
const ship = ["ShipWanted", "CheckShipWanted"];
const verify = ["VerifySync", "Verified"];
const end = (last: "Done" | "Failed"): string[] => ["EndOperation", "Ended", last];
const whole = ["BeginOperation", ...hash, ...rounds, ...compare, ...ship, ...verify, ...end("Done")];
const fails = ["RecordFailure", ...end("Failed")];

const upTo = (trace: readonly string[], state: string): readonly string[] => trace.slice(0, trace.indexOf(state) + 1);
const error = { name: "Corrupt", message: "the disk is gone" };
const completed = { phase: "Completed", error: null, checkpoint: "1-12" };
const failed = (name: string): object => ({ phase: "Failed", error: name, next: "sync", vpg: { role: "Journal" } });
const names = ["Transient", "ConditionFailed", "Lambda.TooManyRequestsException"];
const slow = { times: 4, everyMs: 500_000 };
const hours = { times: 180, everyMs: 500_000 };

const base = { ask: sync(), prepare: uploaded } as const;

const ways: readonly Scenario[] = [
  { ...base, name: "asked for, two pages compared", trace: whole, end: completed },
  {
    name: "nothing to hash",
    ask: sync(false),
    trace: ["BeginOperation", ...hash, ...rounds, ...ship, ...verify, ...end("Done")],
    end: completed,
  },
  {
    ...base,
    name: "slow gateways, with progress",
    source: { progress: { "hash-volumes": slow, "ship-wanted": slow } },
    trace: whole,
    end: completed,
  },
  {
    ...base,
    name: "a day of hashing: the token is given out anew",
    source: { progress: { "hash-volumes": hours, "ship-wanted": hours } },
    trace: ["BeginOperation", ...hash, ...hash, ...rounds, ...compare, ...ship, ...ship, ...verify, ...end("Done")],
    end: completed,
  },
  {
    ...base,
    name: "every wake is lost",
    loseWakes: 1000,
    source: { loseReports: { "hash-volumes": 2, "ship-wanted": 2 }, twice: true },
    trace: whole,
    end: completed,
  },
  {
    ...base,
    name: "the first checkpoint comes later",
    prepare: async (shop, machines) => {
      await uploaded(shop);
      await endsLate(shop, machines);
    },
    deeds: [checkpointComes],
    trace: [
      ...upTo(whole, "Verified"),
      ...Array.from({ length: 3 }, () => ["VerifyLater", ...verify]).flat(),
      ...end("Done"),
    ],
    end: { phase: "Completed", error: null, checkpoint: "1-15" },
  },
  {
    ...base,
    name: "no checkpoint comes",
    prepare: endsLate,
    trace: [
      ...["BeginOperation", ...hash, ...rounds, ...ship],
      ...Array.from({ length: deltaSyncLimits.verifyMsMax / 5000 }, () => [...verify, "VerifyLater"]).flat(),
      ...["VerifySync", ...fails],
    ],
    end: failed("NoCheckpoint"),
  },
  {
    ...base,
    name: "the source is gone",
    source: { silent: "all" },
    trace: ["BeginOperation", ...hash, ...fails],
    end: failed("CommandExpired"),
  },
  {
    ...base,
    name: "the source falls silent while it hashes",
    source: { silent: ["hash-volumes", "ship-wanted"] },
    trace: ["BeginOperation", ...hash, ...hash, ...fails],
    end: failed("CommandExpired"),
  },
  {
    ...base,
    name: "hashing fails",
    source: { fail: { "hash-volumes": error } },
    trace: ["BeginOperation", ...hash, ...fails],
    end: failed("CommandFailed"),
  },
  {
    ...base,
    name: "shipping fails",
    source: { fail: { "ship-wanted": error } },
    trace: [...upTo(whole, "CheckShipWanted"), ...fails],
    end: failed("CommandFailed"),
  },
  {
    ...base,
    name: "a page can't be compared, for good",
    faults: { "compare-page": Array.from({ length: 6 }, () => "Corrupt") },
    trace: [...upTo(whole, "ComparePages"), ...fails],
    end: failed("States.ExceedToleratedFailureThreshold"),
  },
  {
    ...base,
    name: "pages can't be compared in passing, eight times",
    faults: { "compare-page": Array.from({ length: 8 }, () => "Transient") },
    trace: whole,
    end: completed,
  },
  {
    ...base,
    name: "a page can't be compared, twice",
    faults: { "compare-page": ["Corrupt", "Corrupt"] },
    trace: whole,
    end: completed,
  },
  {
    ...base,
    name: "every task fails three times in passing",
    faults: Object.fromEntries(
      [
        ...[
          "begin-operation",
          "issue-command:hash-volumes",
          "check-command:hash-volumes",
          "next-pages",
          "compare-page",
        ],
        ...["issue-command:ship-wanted", "check-command:ship-wanted", "verify-sync", "end-operation"],
      ].map((call) => [call, names]),
    ),
    trace: whole,
    end: completed,
  },
  {
    ...base,
    name: "a failure is recorded at the fourth try",
    faults: { "begin-operation": ["Corrupt"], "record-failure": names },
    trace: ["BeginOperation", ...fails],
    end: failed("Corrupt"),
  },
  {
    ...base,
    name: "a failure that can't be recorded",
    source: { fail: { "hash-volumes": error } },
    faults: { "record-failure": ["Corrupt"] },
    trace: ["BeginOperation", ...hash, ...fails],
    end: failed("CommandFailed"),
  },
  {
    ...base,
    name: "an end that can't be recorded",
    faults: { "end-operation": ["Corrupt"] },
    trace: [...upTo(whole, "EndOperation"), "Failed"],
    end: {},
    abandoned: true,
  },
];

/** An error that trying again can't mend, at every task: where its Catch leads. */
const fatalities = (
  [
    ["begin-operation", "BeginOperation"],
    ["issue-command:hash-volumes", "HashVolumes"],
    ["check-command:hash-volumes", "CheckHashVolumes"],
    ["next-pages", "NextPages"],
    ["issue-command:ship-wanted", "ShipWanted"],
    ["check-command:ship-wanted", "CheckShipWanted"],
    ["verify-sync", "VerifySync"],
  ] as const
).map(
  ([call, state]): Scenario => ({
    ...base,
    name: `${call} fails for good`,
    faults: { [call]: ["Corrupt"] },
    trace: [...upTo(whole, state), ...fails],
    end: failed("Corrupt"),
  }),
);

export const syncScenarios: readonly Scenario[] = [...ways, ...fatalities];
