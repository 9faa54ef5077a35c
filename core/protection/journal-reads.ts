import type { z } from "zod";
import type { BatchSummary, batchListSchema } from "#core/api/gateway-api.ts";
import { Forbidden, InvalidInput, UnsupportedFormat } from "#core/errors.ts";
import type { Id } from "#core/ids.ts";
import { parseBatchKey, parseLayerPartKey, parseManifestKey, parsePackKey } from "#core/journal/keys.ts";
import { objectBytesMax } from "#core/journal/limits.ts";
import { type Manifest, readManifest } from "#core/journal/manifest.ts";
import { comparePositions, type Position, parsePosition } from "#core/journal/position.ts";
import type { ByteRange } from "#core/ports.ts";
import type { Caller, Site } from "#core/site.ts";
import { isSourceGateway } from "./definition.ts";
import { latestDigest, latestManifest } from "./manifests.ts";
import { type RunPlace, rowsOfRun, runStart } from "./run-rows.ts";
import { assertReaches, progressOfSessions } from "./session-list.ts";
import type { VpgRecord } from "./vpg-record.ts";

/** Who may read a VPG's blocks: its gateways, and operators. Throws `Forbidden`. */
export function assertMayRead(caller: Caller, { definition }: VpgRecord): void {
  const { gatewayId } = caller;
  if (caller.role === "operator") return;
  const own =
    gatewayId !== null && (gatewayId === definition.recoveryGatewayId || isSourceGateway(definition, gatewayId));
  if (!own) throw new Forbidden(`the journal of ${definition.name} is read by its gateways and by operators`);
}

const pageItems = 1000;

/** Where a listing of batches goes on, and with whose layers. */
export interface BatchListPage {
  readonly cursor?: string | undefined;
  /** Leaves out what the layers of this manifest stand for; 0: of the newest one, whose number is in the answer. */
  readonly manifest?: number | undefined;
}

/**
 * A page of the valid journal's batches whose first sequence is at or before `upTo`, in order of position: for views. Only
 * unbroken runs are told, so that nothing fenced is ever read.
 */
export async function listBatches(
  site: Site,
  vpg: VpgRecord,
  upTo: Position,
  { cursor, manifest: asked }: BatchListPage = {},
): Promise<z.infer<typeof batchListSchema>> {
  const manifest = asked === undefined ? undefined : await manifestAsked(site, vpg.vpgId, asked);
  if (manifest === undefined) await assertNoPacks(site, vpg);
  const told = manifest === undefined ? {} : { manifest: manifest.manifest };
  const batches: BatchSummary[] = [];
  const place = cursor === undefined ? undefined : placeOf(cursor);
  const sessions = await progressOfSessions(site, vpg.vpgId);
  assertReaches(sessions, manifest, vpg.vpgId, upTo);
  for (const known of sessions) {
    const { session, term } = known.state.claim;
    if (session > upTo.session) break;
    if (session < (place?.session ?? 0)) continue;
    const from = session === place?.session ? place : (manifest?.covered.get(session) ?? runStart);
    for await (const row of rowsOfRun(site, vpg.vpgId, known, from)) {
      const { batch, firstSequence, lastSequence, bytes, touched } = row;
      if (comparePositions({ session, sequence: firstSequence }, upTo) > 0) return { batches, ...told };
      batches.push({ term, session, batch, firstSequence, lastSequence, bytes, touched });
      if (batches.length === pageItems) return { batches, cursor: `${session}-${batch + 1}-${lastSequence}`, ...told };
    }
  }
  return { batches, ...told };
}

/** Where packs stand for batches, a listing without layers would leave out what is in them: an older reader is refused by name. */
async function assertNoPacks(site: Site, { vpgId, definition }: VpgRecord): Promise<void> {
  if ((await latestDigest(site, vpgId))?.fields.packs.length) {
    throw new UnsupportedFormat(
      `the journal of ${definition.name} has packs, and who asks for its batches reads none, or found its layers damaged`,
      { vpgId },
    );
  }
}

/** The last batch that the page before told, read back from its cursor. Throws `InvalidInput`. */
function placeOf(cursor: string): RunPlace & { readonly session: number } {
  const [, session, batches, lastSequence] = /^(\d{1,10})-(\d{1,12})-(\d{1,16})$/.exec(cursor) ?? [];
  if (session === undefined) throw new InvalidInput("not a cursor of this listing", { field: "cursor" });
  return { session: Number(session), batches: Number(batches), lastSequence: Number(lastSequence) };
}

function manifestAsked(site: Site, vpgId: Id, number: number): Promise<Manifest | undefined> {
  return number === 0 ? latestManifest(site, vpgId) : readManifest(site.objects, vpgId, number);
}

/** Throws `NoCheckpoint` once retention has let the checkpoint of that id go, `InvalidInput` for what is no id. */
export async function assertListed(site: Site, { vpgId }: VpgRecord, id: string): Promise<void> {
  (await latestDigest(site, vpgId))?.assertLists(parsePosition(id));
}

/** The VPG that a key of the journal, its layers and manifests belongs to. */
const ownerOf = (key: string): string | undefined =>
  (parseBatchKey(key) ?? parsePackKey(key) ?? parseLayerPartKey(key) ?? parseManifestKey(key))?.vpgId;

/** Bytes of a journal object of this VPG. Throws `InvalidInput` for any other key, `NotFound`. */
export function readJournalObject(site: Site, vpg: VpgRecord, key: string, range?: ByteRange): Promise<Uint8Array> {
  if (ownerOf(key) !== vpg.vpgId) {
    throw new InvalidInput(`not a journal object of ${vpg.definition.name}: "${key.slice(0, 128)}"`, { field: "key" });
  }
  const whole = { offset: 0, length: objectBytesMax };
  const { offset, length } = range ?? whole;
  return site.objects.get(key, { offset, length: Math.min(length, objectBytesMax) });
}
