import { InvalidInput } from "#core/errors.ts";
import type { ByteRange } from "#core/ports.ts";
import { assertListed, assertMayRead, listBatches, readJournalObject } from "#core/protection/journal-reads.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { type HttpResult, json, octets } from "./http.ts";
import { type Call, optionalNumber, wholeNumber } from "./router.ts";

/** `GET …/vpgs/{ref}/batches?session=&sequence=&cursor=&manifest=&checkpoint=`, the same for gateways and operators. */
export async function getBatches({ site, caller, param, query }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  assertMayRead(caller, vpg);
  const upTo = {
    session: wholeNumber(query.get("session") ?? "", "session"),
    sequence: wholeNumber(query.get("sequence") ?? "", "sequence"),
  };
  const page = { cursor: query.get("cursor") ?? undefined, manifest: optionalNumber(query, "manifest") };
  const batches = await listBatches(site, vpg, upTo, page);
  const checkpoint = query.get("checkpoint");
  // Behind the listing: what is listed still was so by the manifest that was listed by.
  if (checkpoint !== null) await assertListed(site, vpg, checkpoint);
  return json(batches);
}

/** `GET …/vpgs/{ref}/objects/{key+}?offset=&length=`. */
export async function getObject({ site, caller, event, param, query }: Call): Promise<HttpResult> {
  const vpg = await getVpg(site, param("ref"));
  assertMayRead(caller, vpg);
  return octets(event, await readJournalObject(site, vpg, param("key"), rangeOf(query)));
}

function rangeOf(query: URLSearchParams): ByteRange | undefined {
  const offset = optionalNumber(query, "offset");
  const length = optionalNumber(query, "length");
  if (offset === undefined && length === undefined) return undefined;
  if (offset === undefined || length === undefined) {
    throw new InvalidInput("a range has both offset and length", { field: offset === undefined ? "offset" : "length" });
  }
  return { offset, length };
}
