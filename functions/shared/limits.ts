import { objectBytesMax } from "#core/journal/limits.ts";

/** Bounds of the functions that speak HTTP. */
export const httpLimits = {
  /** A JSON body: a definition of 400 volumes or a heartbeat of 100 streams is below 100 KB. */
  jsonBytesMax: 1024 * 1024,
  /** The one body that is not JSON: a batch object. */
  batchBytesMax: objectBytesMax,
  /** How long a gateway is believed to be who it was without looking it up: longer than the usual time between two batches. */
  callerRememberedMs: 60_000,
  callersRemembered: 1000,
  /** A function may take this long, as on Lambda. */
  functionTimeMs: 900_000,
  pathCharactersMax: 2048,
  queryCharactersMax: 4096,
} as const;
