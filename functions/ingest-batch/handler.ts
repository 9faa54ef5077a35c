import { idSchema } from "#core/ids.ts";
import { parseInput } from "#core/json.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { bodyBytes, json } from "../shared/http.ts";
import { httpHandler } from "../shared/http-handler.ts";
import { httpLimits } from "../shared/limits.ts";
import { type Call, wholeNumber } from "../shared/router.ts";

/**
 * Takes one batch of a gateway: `PUT /gateway/v1/batches/<vpg>/<term>/<session>/<k>`, the batch object as the body. Its own
 * function, so that the many batches have their own concurrency and never crowd out heartbeats or a failover.
 */
async function putBatch({ site, caller, event, param }: Call) {
  const sent = {
    vpgId: parseInput(idSchema, param("vpg")),
    term: wholeNumber(param("term"), "term"),
    session: wholeNumber(param("session"), "session"),
    batch: wholeNumber(param("batch"), "batch"),
    ageMs: wholeNumber(event.headers["x-farshore-age-ms"] ?? "0", "x-farshore-age-ms"),
    beganAt: event.requestContext.timeEpoch,
    body: bodyBytes(event, httpLimits.batchBytesMax),
  };
  return json(await ingestBatch(site, caller, sent));
}

export const handler = httpHandler("ingest-batch", [
  { method: "PUT", path: "/gateway/v1/batches/{vpg}/{term}/{session}/{batch}", role: "gateway", run: putBatch },
]);
