import { SystemClock } from "#adapters/embedded/clock.ts";
import { createLog } from "#adapters/embedded/log.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { batchListSchema } from "#core/api/gateway-api.ts";
import { checkpointSchema, vpgViewSchema } from "#core/api/site-api.ts";
import { InvalidInput } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { parsePosition } from "#core/journal/position.ts";
import { parseInput } from "#core/json.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { definitionAt } from "#core/protection/definition-at.ts";
import { batchQuery, HttpJournal, type JournalRoutes } from "../gateway/export/http-journal.ts";
import type { CheckpointVolume } from "../gateway/export/view-export.ts";
import type { Context } from "./context.ts";
import { openOfflineVpg, resolveOffline } from "./offline.ts";
import { parseSelector } from "./selector.ts";
import type { SiteClient } from "./site-client.ts";
import { ViewLease } from "./view-lease.ts";

export interface ViewFlags {
  readonly checkpoint: string;
  /** `VM/VOLUME`. */
  readonly volume: string;
  readonly offline?: string;
  /** Operation whose commit left the checkpoint behind. */
  readonly lostTail?: string;
}

/** A volume as of a checkpoint, with what to call it. */
export interface ChosenView extends CheckpointVolume {
  readonly exportName: string;
  readonly checkpointId: string;
  /** Aborted with the reason when the checkpoint may be gone: what is read from then on can't be relied on. */
  readonly lost: AbortSignal;
  /** Lets the checkpoint go. */
  readonly release: () => Promise<void>;
}

/** Finds the checkpoint and the volume, in a data directory or through the site. Throws errors that list what there is. */
export function chooseView(context: Context, vpg: string, flags: ViewFlags): Promise<ChosenView> {
  return flags.offline === undefined
    ? onlineView(context.client(), vpg, flags)
    : offlineView(flags.offline, vpg, flags);
}

async function offlineView(directory: string, ref: string, flags: ViewFlags): Promise<ChosenView> {
  const vpg = await openOfflineVpg(directory, ref);
  const checkpoint = await resolveOffline(vpg, parseSelector(flags.checkpoint), lostTailOf(flags));
  const { configRevision = 1 } =
    vpg.journal.sessions.find(({ claim }) => claim.session === checkpoint.session)?.claim ?? {};
  const volumes = volumesOf(await definitionAt(vpg.objects, vpg.definition, configRevision));
  const chosen = volumes.find((each) => `${each.vmName}/${each.name}` === flags.volume);
  if (chosen === undefined)
    throw noVolume(
      flags.volume,
      volumes.map((each) => `${each.vmName}/${each.name}`),
    );
  const upTo = vpg.journal.positionOf(checkpoint, chosen.volume);
  const bounds = vpg.journal.volumesAt(upTo).get(chosen.volume);
  vpg.journal.show(checkpoint);
  return {
    source: vpg.journal,
    volume: chosen.volume,
    sizeBytes: bounds?.sizeBytes ?? chosen.sizeBytes,
    sectorBytes: chosen.sectorBytes,
    upTo,
    exportName: `${vpg.definition.name}/${flags.volume}`,
    checkpointId: checkpoint.id,
    // Nobody can be told offline: a read that needs what is gone fails.
    lost: new AbortController().signal,
    release: async () => undefined,
  };
}

async function onlineView(client: SiteClient, ref: string, flags: ViewFlags): Promise<ChosenView> {
  const path = `/v1/vpgs/${encodeURIComponent(ref)}`;
  const selector = parseSelector(flags.checkpoint);
  const lostTail = lostTailOf(flags);
  const which = { kind: selector.kind, value: selectorValue(selector) };
  const query = new URLSearchParams(lostTail === undefined ? which : { ...which, lostTail });
  const [vpg, checkpoint] = await Promise.all([
    client.get(path, vpgViewSchema),
    client.get(`${path}/checkpoints/resolve?${query}`, checkpointSchema),
  ]);
  const volumes = (checkpoint.volumes ?? []).map((each) => ({ ...each, name: `${each.vmName}/${each.name}` }));
  const chosen = volumes.find((each) => each.name === flags.volume);
  if (chosen === undefined)
    throw noVolume(
      flags.volume,
      volumes.map((each) => each.name),
    );
  const part = checkpoint.parts?.find(({ volumes: numbers }) => numbers.includes(chosen.volume));
  const upTo = part?.position ?? parsePosition(checkpoint.id);
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const { vpgId } = vpg;
  const lease = await ViewLease.take({ client, vpgId, checkpointId: checkpoint.id, lostTail, clock, random });
  const source = new HttpJournal({
    ...{ routes: routesOf(client), vpgId, upTo, checkpoint: checkpoint.id },
    ...{ clock, random, log: createLog(), signal: lease.lost },
  });
  const { volume, sizeBytes } = chosen;
  // Sectors of a read-only export: 512 reads every volume.
  return {
    source,
    volume,
    sizeBytes,
    sectorBytes: 512,
    upTo,
    exportName: `${vpg.name}/${flags.volume}`,
    checkpointId: checkpoint.id,
    lost: lease.lost,
    release: () => lease.release(),
  };
}

const lostTailOf = ({ lostTail }: ViewFlags): Id | undefined =>
  lostTail === undefined ? undefined : parseInput(idSchema, lostTail);

function selectorValue(selector: ReturnType<typeof parseSelector>): string {
  switch (selector.kind) {
    case "latest":
      return "";
    case "id":
      return selector.id;
    case "time":
      return String(selector.time);
    case "tag":
      return selector.tag;
  }
}

/** The journal's reads, as the site API has them. */
const routesOf = (client: SiteClient): JournalRoutes => ({
  batches: (vpgId: Id, upTo, page) =>
    client.get(`/v1/vpgs/${vpgId}/batches?${batchQuery(upTo, page)}`, batchListSchema),
  object: (vpgId, key, range, signal) => {
    const query = range === undefined ? "" : `?offset=${range.offset}&length=${range.length}`;
    return client.octets(`/v1/vpgs/${vpgId}/objects/${key}${query}`, signal);
  },
});

const noVolume = (asked: string, there: readonly string[]): InvalidInput =>
  new InvalidInput(`no volume ${asked}; write VM/VOLUME, one of ${there.join(", ")}`);
