import { NoCheckpoint } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { TableAction } from "#core/ports.ts";
import { resolveCheckpoint } from "#core/protection/checkpoints.ts";
import { sourceGatewaysOf } from "#core/protection/definition.ts";
import { gatewayFieldsSchema, isFresh } from "#core/protection/gateway-store.ts";
import { items } from "#core/protection/items.ts";
import type { VpgRecord } from "#core/protection/vpg-record.ts";
import type { Site } from "#core/site.ts";
import { formatDuration } from "#core/units.ts";

/** What the site itself sees of a VPG's source at one instant. */
export interface Sight {
  readonly heard: boolean;
  /** One sentence a gateway, and one on the newest checkpoint. */
  readonly seen: readonly string[];
  /** True only as long as no source gateway was heard again. */
  readonly stillSilent: readonly TableAction[];
  /** Null when the recovery gateway was heard: that is also the proof that this site can be reached at all. */
  readonly recoverySilent: string | null;
}

interface Heartbeat {
  readonly gatewayId: Id;
  readonly name: string;
  readonly lastSeenAt: number | null;
  readonly unchanged: TableAction;
}

/** Only a VPG whose journal is here, that was replicated once and that nobody paused has a source to look after. */
export const isWatched = ({ role, lastSession, paused }: VpgRecord): boolean =>
  role === "Journal" && lastSession > 0 && !paused;

/** The time of a look and of the one before it in the chain of silence, which `null` says there is none of. */
export interface LookTimes {
  readonly now: number;
  readonly before: number | null;
}

/** Heard now, or at any time since the look before: looks may be a minute apart, and one sign of life is enough. */
const isSign = (at: number | null, { now, before }: LookTimes): boolean =>
  isFresh(at, now) || (at !== null && before !== null && before < at && at <= now);

/** Is the source heard? Missing data counts as silence. */
export function isHeard(beats: readonly (number | null)[], quorum: "all" | "any", times: LookTimes): boolean {
  const silent = (at: number | null): boolean => !isSign(at, times);
  return quorum === "all" ? !beats.every(silent) : !beats.some(silent);
}

export async function look(site: Site, vpg: VpgRecord, times: LookTimes): Promise<Sight> {
  const { now } = times;
  const { definition } = vpg;
  const sources = sourceGatewaysOf(definition);
  const beats = await Promise.all(sources.map(({ gatewayId, name }) => heartbeat(site, gatewayId, name)));
  const recovery =
    definition.recoveryGatewayId === null
      ? undefined
      : await heartbeat(site, definition.recoveryGatewayId, definition.recoveryGatewayName ?? "");
  const beating = isHeard(
    beats.map(({ lastSeenAt }) => lastSeenAt),
    definition.trigger.quorum,
    times,
  );
  // Only the silent pay for this: batches of a gateway whose heartbeats don't get through are a sign of life too.
  const validThrough = beating ? null : await newestInstant(site, vpg.vpgId);
  return {
    heard: beating || isSign(validThrough, times),
    seen: [...beats.map((beat) => said(beat, now)), checkpointSaid(validThrough, now)],
    stillSilent: beats.filter(({ lastSeenAt }) => !isSign(lastSeenAt, times)).map(({ unchanged }) => unchanged),
    recoverySilent:
      recovery === undefined || isFresh(recovery.lastSeenAt, now)
        ? null
        : `${said(recovery, now)}: nothing could be brought up, and it may be this site that is cut off`,
  };
}

async function heartbeat(site: Site, gatewayId: Id, name: string): Promise<Heartbeat> {
  const key = items.gateway(gatewayId);
  const item = await site.table.get(key);
  const stored = item && checkStored(gatewayFieldsSchema, item.fields, `gateway ${gatewayId}`);
  const unchanged: TableAction = { check: key, if: item === undefined ? { absent: true } : { rev: item.rev } };
  return { gatewayId, name, lastSeenAt: stored?.lastSeenAt ?? null, unchanged };
}

const said = ({ name, lastSeenAt }: Heartbeat, now: number): string =>
  lastSeenAt === null
    ? `gateway ${name} was never heard`
    : `gateway ${name} was last heard ${formatDuration(Math.max(0, now - lastSeenAt))} ago`;

const checkpointSaid = (validThrough: number | null, now: number): string =>
  validThrough === null
    ? "no checkpoint is listed"
    : `the newest checkpoint holds until ${formatDuration(Math.max(0, now - validThrough))} ago`;

async function newestInstant(site: Site, vpgId: Id): Promise<number | null> {
  try {
    return (await resolveCheckpoint(site, vpgId, { kind: "latest" })).validThrough;
  } catch (error) {
    if (error instanceof NoCheckpoint) return null;
    throw error;
  }
}
