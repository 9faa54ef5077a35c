import { InvalidInput } from "#core/errors.ts";
import type { BatchPlace } from "./batch.ts";
import type { LayerPartPlace } from "./layer.ts";
import { batchNumberMax, layerPartsMax, safeIntegerMax, u32Max, volumeNumberMax } from "./limits.ts";
import type { Position } from "./position.ts";
import { isUlid } from "./ulid-bytes.ts";

/**
 * Names of a site's objects. Numbers are padded with zeros to a fixed width, so that byte order, in which stores list,
 * is the order of the numbers; ids are lower-case ULIDs. Names are never reused.
 */

/** Identity of the site whose bucket this is. */
export const siteKey = "site.json";

/** The batches and the seal of one session. */
export function sessionPrefix(vpgId: string, term: number, session: number): string {
  return `journal/${id(vpgId)}/${u32(term)}/${u32(session)}/`;
}

/** All batches and seals of a VPG. */
export function journalPrefix(vpgId: string): string {
  return `journal/${id(vpgId)}/`;
}

/** A batch or, where the session was ended from outside, its SEAL (R7, R8). */
export function batchKey(place: BatchPlace): string {
  return sessionPrefix(place.vpgId, place.term, place.session) + padded(place.batch, 12, 0, batchNumberMax);
}

export function parseBatchKey(key: string): BatchPlace | undefined {
  const match = /^journal\/([^/]+)\/(\d{10})\/(\d{10})\/(\d{12})$/.exec(key);
  if (match === null) return undefined;
  const vpgId = match[1] ?? "";
  const term = Number(match[2]);
  const session = Number(match[3]);
  if (!isUlid(vpgId) || term > u32Max || session > u32Max) return undefined;
  return { vpgId, term, session, batch: Number(match[4]) };
}

export function termPrefix(vpgId: string): string {
  return `terms/${id(vpgId)}/`;
}

/** The claim of a term by its minter (R9). */
export function termKey(vpgId: string, term: number, minterSiteId: string): string {
  return `${termPrefix(vpgId)}${u32(term)}-${id(minterSiteId)}.json`;
}

export function parseTermKey(key: string): { vpgId: string; term: number; minterSiteId: string } | undefined {
  const match = /^terms\/([^/]+)\/(\d{10})-([^/]+)\.json$/.exec(key);
  if (match === null) return undefined;
  const vpgId = match[1] ?? "";
  const minterSiteId = match[3] ?? "";
  if (!isUlid(vpgId) || !isUlid(minterSiteId) || Number(match[2]) > u32Max) return undefined;
  return { vpgId, term: Number(match[2]), minterSiteId };
}

/** Offers of terms (R16), this site's own and those of peers that it took, and what was taken back. */
export function offerPrefix(vpgId: string): string {
  return `offers/${id(vpgId)}/`;
}

/** The offer of term `term` by its minter; its creation uses the number up. */
export function offerKey(vpgId: string, term: number, minterSiteId: string): string {
  return `${offerPrefix(vpgId)}${u32(term)}-${id(minterSiteId)}.json`;
}

/** There when the minter took the offer back, also when the offer itself never came. */
export function withdrawnKey(vpgId: string, term: number, minterSiteId: string): string {
  return `${offerPrefix(vpgId)}${u32(term)}-${id(minterSiteId)}-withdrawn.json`;
}

export function parseOfferKey(
  key: string,
): { vpgId: string; term: number; minterSiteId: string; withdrawn: boolean } | undefined {
  const match = /^offers\/([^/]+)\/(\d{10})-([^/-]+)(-withdrawn)?\.json$/.exec(key);
  if (match === null) return undefined;
  const [, vpgId = "", digits, minterSiteId = "", withdrawn] = match;
  if (!isUlid(vpgId) || !isUlid(minterSiteId) || Number(digits) > u32Max) return undefined;
  return { vpgId, term: Number(digits), minterSiteId, withdrawn: withdrawn !== undefined };
}

export function sessionClaimPrefix(vpgId: string): string {
  return `sessions/${id(vpgId)}/`;
}

/** What a session is (session-claim.ts); its creation opens the session (R4). */
export function sessionClaimKey(vpgId: string, session: number): string {
  return `${sessionClaimPrefix(vpgId)}${u32(session)}.json`;
}

export function parseSessionClaimKey(key: string): { vpgId: string; session: number } | undefined {
  const parsed = parseNumbered("sessions", 10, u32Max, key);
  return parsed && { vpgId: parsed.vpgId, session: parsed.number };
}

export function definitionPrefix(vpgId: string): string {
  return `vpgs/${id(vpgId)}/`;
}

/** One revision of a VPG's definition. */
export function definitionKey(vpgId: string, revision: number): string {
  return `${definitionPrefix(vpgId)}${u32(revision)}.json`;
}

export function parseDefinitionKey(key: string): { vpgId: string; revision: number } | undefined {
  const parsed = parseNumbered("vpgs", 10, u32Max, key);
  return parsed && { vpgId: parsed.vpgId, revision: parsed.number };
}

export function manifestPrefix(vpgId: string): string {
  return `manifests/${id(vpgId)}/`;
}

/** A numbered list of what makes up the journal (R13). */
export function manifestKey(vpgId: string, manifest: number): string {
  return `${manifestPrefix(vpgId)}${u32(manifest)}.json`;
}

export function parseManifestKey(key: string): { vpgId: string; manifest: number } | undefined {
  const parsed = parseNumbered("manifests", 10, u32Max, key);
  return parsed && { vpgId: parsed.vpgId, manifest: parsed.number };
}

/** Every layer of a VPG, in a manifest or not. */
export function layersPrefix(vpgId: string): string {
  return `layers/${id(vpgId)}/`;
}

/** A part of a layer (R13). The layer's id is new for every attempt to make one. */
export function layerPartKey({ vpgId, layerId, part }: LayerPartPlace): string {
  return `${layersPrefix(vpgId)}${id(layerId)}/${padded(part, 6, 0, layerPartsMax)}`;
}

export function parseLayerPartKey(key: string): LayerPartPlace | undefined {
  const match = /^layers\/([^/]+)\/([^/]+)\/(\d{6})$/.exec(key);
  if (match === null) return undefined;
  const [, vpgId = "", layerId = ""] = match;
  return isUlid(vpgId) && isUlid(layerId) ? { vpgId, layerId, part: Number(match[3]) } : undefined;
}

/** Every pack of a VPG, in a digest or not. */
export function packsPrefix(vpgId: string): string {
  return `packs/${id(vpgId)}/`;
}

/** What stands in place of batches of a session from `batch` on (R13). The pack's id is new for every attempt to make one. */
export function packKey({ vpgId, session, batch }: Omit<BatchPlace, "term">, packId: string): string {
  return `${packsPrefix(vpgId)}${u32(session)}/${padded(batch, 12, 0, batchNumberMax)}-${id(packId)}`;
}

export function parsePackKey(key: string): (Omit<BatchPlace, "term"> & { packId: string }) | undefined {
  const match = /^packs\/([^/]+)\/(\d{10})\/(\d{12})-([^/]+)$/.exec(key);
  if (match === null) return undefined;
  const [, vpgId = "", session = "", batch = "", packId = ""] = match;
  if (!isUlid(vpgId) || !isUlid(packId) || Number(session) > u32Max) return undefined;
  return { vpgId, session: Number(session), batch: Number(batch), packId };
}

export function digestsPrefix(vpgId: string): string {
  return `digests/${id(vpgId)}/`;
}

/** What a manifest says of listing and packs (digest.ts). Its id is new for every attempt to make one. */
export function digestKey(vpgId: string, digestId: string): string {
  return `${digestsPrefix(vpgId)}${id(digestId)}.json`;
}

export function parseDigestKey(key: string): { vpgId: string; digestId: string } | undefined {
  const [, vpgId = "", digestId = ""] = /^digests\/([^/]+)\/([^/]+)\.json$/.exec(key) ?? [];
  return isUlid(vpgId) && isUlid(digestId) ? { vpgId, digestId } : undefined;
}

export function annotationPrefix(vpgId: string): string {
  return `annotations/${id(vpgId)}/`;
}

/** What an operation noted on a checkpoint, like that it was tested. */
export function annotationKey(vpgId: string, position: Position, operationId: string): string {
  const place = `${u32(position.session)}-${padded(position.sequence, 16, 1, safeIntegerMax)}`;
  return `${annotationPrefix(vpgId)}${place}/${id(operationId)}.json`;
}

export function parseAnnotationKey(
  key: string,
): { vpgId: string; position: Position; operationId: string } | undefined {
  const match = /^annotations\/([^/]+)\/(\d{10})-(\d{16})\/([^/]+)\.json$/.exec(key);
  if (match === null) return undefined;
  const vpgId = match[1] ?? "";
  const operationId = match[4] ?? "";
  const position = { session: Number(match[2]), sequence: Number(match[3]) };
  if (!isUlid(vpgId) || !isUlid(operationId) || position.session > u32Max) return undefined;
  return position.sequence > safeIntegerMax ? undefined : { vpgId, position, operationId };
}

/** What a delta-sync and its gateways tell each other; it lives for days and nothing rests on it. */
export const syncArea = "sync/";

export function syncPrefix(vpgId: string, operationId: string): string {
  return `${syncArea}${id(vpgId)}/${id(operationId)}/`;
}

export interface SyncPagePlace {
  readonly session: number;
  readonly volume: number;
  readonly page: number;
}

/** The hashes of a page's suspects, or which of them are wanted; in a listing one stands behind the other. */
export function syncPageKey(
  vpgId: string,
  operationId: string,
  { session, volume, page }: SyncPagePlace,
  what: "hashes" | "wants",
): string {
  const place = `${u32(session)}/${padded(volume, 5, 1, volumeNumberMax)}-${padded(page, 5, 0, volumeNumberMax)}`;
  return `${syncPrefix(vpgId, operationId)}${place}.${what}`;
}

export function parseSyncPageKey(
  key: string,
): (SyncPagePlace & { vpgId: string; operationId: string; what: "hashes" | "wants" }) | undefined {
  const match = /^sync\/([^/]+)\/([^/]+)\/(\d{10})\/(\d{5})-(\d{5})\.(hashes|wants)$/.exec(key);
  if (match === null) return undefined;
  const [, vpgId = "", operationId = "", session, volume, page, what] = match;
  if (!isUlid(vpgId) || !isUlid(operationId) || Number(session) > u32Max) return undefined;
  const place = { session: Number(session), volume: Number(volume), page: Number(page) };
  return { vpgId, operationId, ...place, what: what === "hashes" ? "hashes" : "wants" };
}

/** Commit or rollback of an operation, whichever was first (R15). */
export function decisionKey(vpgId: string, operationId: string): string {
  return `decisions/${id(vpgId)}/${id(operationId)}.json`;
}

/** Live operations that began, and those that a person declared to be over. */
export const allOperationsPrefix = "operations/";

/** The same of one VPG. */
export function operationPrefix(vpgId: string): string {
  return `${allOperationsPrefix}${id(vpgId)}/`;
}

/** There before the attempt of a live operation touches anything; its report ends it. */
export function operationKey(vpgId: string, operationId: string, attempt: number): string {
  return `${operationAttempt(vpgId, operationId, attempt)}.json`;
}

/** There when a person declared the attempt to be over that a site had forgotten. */
export function forgottenKey(vpgId: string, operationId: string, attempt: number): string {
  return `${operationAttempt(vpgId, operationId, attempt)}-forgotten.json`;
}

export function parseOperationKey(
  key: string,
): { vpgId: string; operationId: string; attempt: number; forgotten: boolean } | undefined {
  const [, vpgId = "", operationId = "", attempt, forgotten] =
    /^operations\/([^/]+)\/([^/.]+)\.(\d{4})(-forgotten)?\.json$/.exec(key) ?? [];
  if (!isUlid(vpgId) || !isUlid(operationId)) return undefined;
  return { vpgId, operationId, attempt: Number(attempt), forgotten: forgotten !== undefined };
}

/** Every report of every VPG. */
export const allReportsPrefix = "reports/";

/** Of every attempt of an operation. */
export function reportPrefix(vpgId: string, operationId: string): string {
  return `${allReportsPrefix}${id(vpgId)}/${id(operationId)}.`;
}

/** The report of one attempt, so that what was reported is never written over; and the same as a page beside it. */
export function reportKey(vpgId: string, operationId: string, attempt: number, form: "json" | "html"): string {
  return `${reportPrefix(vpgId, operationId)}${padded(attempt, 4, 1, 9999)}.${form}`;
}

export function parseReportKey(
  key: string,
): { vpgId: string; operationId: string; attempt: number; form: "json" | "html" } | undefined {
  const [, vpgId = "", operationId = "", attempt, form] =
    /^reports\/([^/]+)\/([^/.]+)\.(\d{4})\.(json|html)$/.exec(key) ?? [];
  if (!isUlid(vpgId) || !isUlid(operationId)) return undefined;
  return { vpgId, operationId, attempt: Number(attempt), form: form === "html" ? "html" : "json" };
}

function operationAttempt(vpgId: string, operationId: string, attempt: number): string {
  return `${operationPrefix(vpgId)}${id(operationId)}.${padded(attempt, 4, 1, 9999)}`;
}

function parseNumbered(
  area: string,
  width: number,
  most: number,
  key: string,
): { vpgId: string; number: number } | undefined {
  const [first, vpgId = "", file = "", ...rest] = key.split("/");
  const digits = file.slice(0, width);
  if (first !== area || rest.length > 0 || !isUlid(vpgId)) return undefined;
  if (!/^\d+$/.test(digits) || file !== `${digits}.json` || digits.length !== width) return undefined;
  return Number(digits) > most ? undefined : { vpgId, number: Number(digits) };
}

function id(text: string): string {
  if (!isUlid(text)) throw new InvalidInput(`not a lower-case ULID: "${text.slice(0, 64)}"`);
  return text;
}

function u32(value: number): string {
  return padded(value, 10, 0, u32Max);
}

function padded(value: number, width: number, least: number, most: number): string {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new InvalidInput(`${value} is not a whole number from ${least} to ${most}`);
  }
  return String(value).padStart(width, "0");
}
